"""The page that compares runs on the same samples."""

from __future__ import annotations

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.http import require_safe

from leaderboard.boards.compare import MOST, SHOWS, versus
from leaderboard.core.listing import choice
from leaderboard.runs.access import access_run, visible_runs
from leaderboard.runs.models import Run, State

CHOICES = 200
"""Runs that the form offers: the newest of the suite."""


@require_safe
def compare(request: HttpRequest) -> HttpResponse:
    """Compare two or three completed runs; without any, offer them."""
    show = choice(request.GET, "show", SHOWS, "different")
    names = list(dict.fromkeys(name for name in request.GET.getlist("run") if name))
    if len(names) > MOST:
        raise BadRequest(f"At most {MOST} runs can be compared at once.")
    runs = [_completed(access_run(request.user, name)) for name in names]
    if len({run.suite_id for run in runs}) > 1:
        raise BadRequest("Only runs on the same suite can be compared.")
    context = {
        "runs": runs,
        "show": show,
        "shows": SHOWS,
        "comparisons": versus(runs, show) if len(runs) > 1 else [],
        "offered": _offered(request, runs),
        "places": [*runs, *[None] * (MOST - len(runs))],
    }
    return TemplateResponse(request, "boards/compare.html", context)


def _completed(run: Run) -> Run:
    if run.state != State.COMPLETED:
        raise BadRequest(f"{run.public_id} has not completed, so there is nothing to compare.")
    return run


def _offered(request: HttpRequest, runs: list[Run]) -> list[Run]:
    """Return the runs that may be chosen: of the same suite once one is chosen."""
    known = visible_runs(request.user).filter(state=State.COMPLETED).order_by("-id")
    if runs:
        known = known.filter(suite=runs[0].suite_id)
    return list(known[:CHOICES])
