"""A completed run as files: our own, and those that other tools read."""

from __future__ import annotations

from django.http import FileResponse, Http404, HttpRequest
from django.views.decorators.http import require_safe

from evaluators.errors import BadFile
from leaderboard.catalog.access import may_see_location
from leaderboard.runs.access import access_run
from leaderboard.runs.models import State
from leaderboard.runs.services.exporting import available, pack


@require_safe
def files(request: HttpRequest, public_id: str, form: str) -> FileResponse:
    """Hand out an archive of a run in one of the formats."""
    run = access_run(request.user, public_id)
    if run.state != State.COMPLETED:
        raise Http404("There are files once the run is complete.")
    if form not in available():
        raise Http404(f"There are files of these kinds: {', '.join(available())}.")
    try:
        archive = pack(run, form, show_location=may_see_location(request.user, run.model))
    except BadFile as error:
        raise Http404(str(error.data["reason"])) from error
    return FileResponse(archive, as_attachment=True, filename=f"{run.public_id}-{form}.zip")
