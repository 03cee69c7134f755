"""Reading what a run did: lists of samples, single transcripts, whole texts."""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from leaderboard.core.exports import json_response, text_response
from leaderboard.core.listing import choice
from leaderboard.runs import samples as lists
from leaderboard.runs.access import access_result, access_run
from leaderboard.runs.models import Run
from leaderboard.runs.presentation import model_json, players
from leaderboard.runs.samples import FLIPS, SampleFilter
from leaderboard.runs.transcript import as_json, row_json, transcript, whole_text

FLAG_LABELS = {
    "changed": "answer changed",
    "truncated": "truncated",
    "unparsed": "nothing extracted",
    "unscored": "not scored",
}


@require_safe
def samples(request: HttpRequest, public_id: str) -> HttpResponse:
    """List a run's samples, filtered, in an order that is the same for every model."""
    run = access_run(request.user, public_id)
    tasks = lists.tasks_of(run)
    wanted = SampleFilter.from_query(request.GET, tasks)
    page = lists.page(run, wanted, request.GET)
    if choice(request.GET, "format", ["html", "json"], "html") == "json":
        links = {"before": page.before, "after": page.after}
        rows = [row_json(row) for row in page.rows]
        return json_response(
            {"run": run.public_id, "filter": wanted.query(), **links, "samples": rows}
        )
    context = {
        "run": run,
        "tasks": tasks,
        "filter": wanted,
        "query": urlencode(wanted.query()),
        "page": page,
        "flips": FLIPS,
        "flags": FLAG_LABELS,
        "several_tasks": len(tasks) > 1,
    }
    return TemplateResponse(request, "runs/samples.html", context)


@require_safe
def sample(request: HttpRequest, public_id: str, pk: int) -> HttpResponse:
    """Show one transcript, with the way to its neighbours under the same filter."""
    run = access_run(request.user, public_id)
    result = access_result(run, pk)
    if choice(request.GET, "format", ["html", "json"], "html") == "json":
        return json_response({"run": run.public_id, "models": _models(run), **as_json(result)})
    wanted = SampleFilter.from_query(request.GET, lists.tasks_of(run))
    previous, following = lists.neighbours(wanted.of(run), result)
    texts = reverse("sample_text", args=[run.public_id, pk, "question"]).removesuffix("question/")
    context = {
        "run": run,
        "result": result,
        "turns": transcript(result, texts),
        "gold": result.gold,
        "texts": texts,
        "query": urlencode(wanted.query()),
        "filter": wanted,
        "previous": previous,
        "following": following,
        "replicates": lists.replicates(run, result),
    }
    return TemplateResponse(request, "runs/sample.html", context)


def _models(run: Run) -> dict[str, object]:
    """Say who played which role."""
    others = {role: model_json(model or run.model) for role, model in players(run)}
    return {"actor": model_json(run.model), **others}


@require_safe
def sample_text(request: HttpRequest, public_id: str, pk: int, what: str) -> HttpResponse:
    """Hand out one text of a sample, whole and as it was stored, as a download."""
    run = access_run(request.user, public_id)
    text = whole_text(access_result(run, pk), what)
    if text is None:
        raise Http404("There is no such text in this sample.")
    return text_response(f"{run.public_id}-{pk}-{what}.txt", text)
