"""Following work: one run, one submission, the whole queue; cancelling and retrying."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import prefetch_related_objects
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.http import require_POST, require_safe

from leaderboard.core.exports import json_response
from leaderboard.core.listing import choice
from leaderboard.runs import samples, services
from leaderboard.runs.access import access_own_run, access_run, access_submission, may_act
from leaderboard.runs.errors import IllegalMove
from leaderboard.runs.presentation import (
    awaits_controls,
    can_cancel,
    can_hold,
    can_retry,
    explain,
    players,
    run_json,
)
from leaderboard.runs.progress import run_progress, run_status
from leaderboard.runs.queue import queue_status
from leaderboard.runs.services.exporting import available
from leaderboard.runs.tasks import hint

FORMATS = {
    "redraft": "transcripts, complete",
    "lm-eval": "results and samples",
    "inspect": ".eval logs",
    "every-eval-ever": "0.3.0",
}
"""What the files of each format hold."""


@require_safe
def run(request: HttpRequest, public_id: str) -> HttpResponse:
    """Show where a run is: progress, shards, attempts, history, failure."""
    row = access_run(request.user, public_id)
    status = run_status(row)
    if choice(request.GET, "format", ["html", "json"], "html") == "json":
        return json_response(run_json(status))
    partial = bool(request.headers.get("HX-Request"))
    context = {
        "run": row,
        "status": status,
        "failure": explain(row.failure_id, row.failure_detail),
        "may_act": may_act(request.user, row),
        "can_cancel": can_cancel(row),
        "can_retry": can_retry(row),
        "can_hold": can_hold(row),
        "flips": {} if partial else samples.flip_counts(row),
        "players": players(row),
        "controls_awaited": awaits_controls(row),
        "formats": [(name, FORMATS[name]) for name in available()],
    }
    template = "runs/_run_status.html" if partial else "runs/run.html"
    response = TemplateResponse(request, template, context)
    if partial and not status.live:
        response["HX-Refresh"] = "true"  # a finished run has more to show than its progress
    return response


@require_safe
def manifest(request: HttpRequest, public_id: str) -> HttpResponse:
    """Hand out the sealed manifest of a run, or say that there is none yet."""
    row = access_run(request.user, public_id)
    if row.manifest is None:
        return json_response(
            {"error": "The manifest is sealed when the run completes."}, status=404
        )
    return json_response({"sha256": row.manifest_sha256, "manifest": row.manifest})


@login_required
@require_POST
def cancel(request: HttpRequest, public_id: str) -> HttpResponseRedirect:
    """Ask for a run to be stopped."""
    row = access_own_run(request.user, public_id)
    services.cancel(run=row, actor=f"user:{request.user.pk}")
    messages.info(request, "The run will stop within seconds; what it has scored stays readable.")
    return redirect("run", row.public_id)


@login_required
@require_POST
def retry(request: HttpRequest, public_id: str) -> HttpResponseRedirect:
    """Start a failed or cancelled run again, as a new run."""
    row = access_own_run(request.user, public_id)
    try:
        again = services.retry(run=row, actor=f"user:{request.user.pk}")
    except IllegalMove:
        messages.warning(request, "Only a run that failed or was cancelled can be tried again.")
        return redirect("run", row.public_id)
    hint([again])
    return redirect("run", again.public_id)


@login_required
@require_POST
def hold(request: HttpRequest, public_id: str) -> HttpResponseRedirect:
    """Have a run held against controls that nobody asked for when it was submitted."""
    row = access_own_run(request.user, public_id)
    if can_hold(row):
        services.ask_for_controls(row)
        messages.info(request, "Its controls are run as soon as nobody's submission waits.")
    else:
        messages.warning(request, "This run has its controls, or cannot have any.")
    return redirect("run", row.public_id)


@require_safe
def submission(request: HttpRequest, public_id: str) -> HttpResponse:
    """Show the runs of one submission with their progress."""
    row, runs = access_submission(request.user, public_id)
    prefetch_related_objects(runs, "shards")
    lines = [(run, run_progress(run, list(run.shards.all()))) for run in runs]
    live = any(run.finished_at is None or awaits_controls(run) for run in runs)
    context = {"submission": row, "lines": lines, "live": live}
    partial = bool(request.headers.get("HX-Request"))
    template = "runs/_submission_runs.html" if partial else "runs/submission.html"
    return TemplateResponse(request, template, context)


@require_safe
def queue(request: HttpRequest) -> HttpResponse:
    """Show workers, the queue and the oldest runs that are not finished."""
    return TemplateResponse(request, "runs/status.html", {"queue": queue_status(request.user)})
