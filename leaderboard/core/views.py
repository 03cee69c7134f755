"""Pages for requests that cannot be answered."""

from __future__ import annotations

from http import HTTPStatus

from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from leaderboard.core.trace import current_trace


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Say what is wrong with an address, where we know it."""
    reason = (
        str(exception) if isinstance(exception, BadRequest) else "The request cannot be understood."
    )
    return _page(request, HTTPStatus.BAD_REQUEST, "That is not an address here", reason)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Say that this is for others."""
    return _page(
        request,
        HTTPStatus.FORBIDDEN,
        "Not allowed",
        "This needs rights that your account does not have.",
    )


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Say what was not found, as far as the visitor may know."""
    plain = isinstance(exception, Http404) and exception.args and isinstance(exception.args[0], str)
    reason = exception.args[0] if plain else "There is no such page."
    return _page(request, HTTPStatus.NOT_FOUND, "Not found", reason)


def _page(request: HttpRequest, status: HTTPStatus, title: str, reason: str) -> HttpResponse:
    context = {"title": title, "reason": reason, "trace": current_trace()}
    return render(request, "core/refusal.html", context, status=status)
