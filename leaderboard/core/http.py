"""What views share: requests that know htmx and their user, and problems as JSON."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from django.http import HttpRequest, JsonResponse

from leaderboard.core.messages import message_for
from leaderboard.core.trace import current_trace

if TYPE_CHECKING:
    from django_htmx.middleware import HtmxDetails


class HtmxRequest(HttpRequest):
    """A request as views see it, after the htmx middleware."""

    htmx: HtmxDetails


def problem(
    status: int, title: str, *, detail: str = "", error_id: str = "", **members: object
) -> JsonResponse:
    """Return an RFC 9457 problem; `members` are added as they are."""
    body: dict[str, object] = {"type": "about:blank", "title": title, "status": status}
    if error_id:
        body |= {"type": f"tag:redraft,2026:{error_id}", "id": error_id}
        body["advice"] = message_for(error_id).advice
    if detail:
        body["detail"] = detail
    return JsonResponse(
        {**body, "trace": current_trace(), **members},
        status=status,
        content_type="application/problem+json",
    )


def not_found(what: str = "page") -> JsonResponse:
    """Return the problem for a thing that does not exist, or that the reader may not know of."""
    return problem(HTTPStatus.NOT_FOUND, f"There is no such {what}")
