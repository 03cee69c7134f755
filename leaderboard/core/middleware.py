"""What happens around every request: a trace id, and an honest page when the database is away."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template import TemplateDoesNotExist, loader
from django.views import defaults

from leaderboard.core.trace import current_trace, start_trace

log = logging.getLogger(__name__)
Handler = Callable[[HttpRequest], HttpResponse]
_AWAY = """<!doctype html><title>Database away</title><h1>Back in a moment</h1>
<p>The database does not answer. Nothing is lost.</p>"""


class TraceMiddleware:
    """Gives each request a trace id and returns it as `X-Trace-Id`."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Start the trace, answer, and name it in the answer."""
        start_trace(request.headers.get("X-Trace-Id", ""))
        response = self.get_response(request)
        response["X-Trace-Id"] = current_trace()
        return response


class DatabaseAwayMiddleware:
    """Answers 503 instead of 500 when the database does not answer."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request; middleware further in turns what it raises into a response."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Turn a lost connection, raised by a view, into a 503 page."""
        if not isinstance(exception, OperationalError | InterfaceError):
            return None
        return _away(exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer what nobody else answered: a lost connection outside a view is no fault of ours."""
    exception = sys.exc_info()[1]
    if isinstance(exception, OperationalError | InterfaceError):
        return _away(exception)
    return defaults.server_error(request)


def _away(exception: BaseException) -> HttpResponse:
    log.error("database away: %s", exception)
    try:
        body = loader.get_template("503.html").render({"trace": current_trace()})
    except TemplateDoesNotExist:
        body = _AWAY
    return HttpResponse(body, status=503, headers={"Retry-After": "5"})
