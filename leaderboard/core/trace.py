"""One trace id from a request to its task and its calls, for the log lines of all of them."""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar

_current: ContextVar[str] = ContextVar("trace", default="-")
_ACCEPTED = re.compile(r"[0-9a-zA-Z_-]{8,64}")


def current_trace() -> str:
    """Return the trace id of what is being done, or `-`."""
    return _current.get()


def start_trace(given: str = "") -> str:
    """Begin a new trace, or go on with one handed over if it looks like one."""
    trace = given if _ACCEPTED.fullmatch(given) else secrets.token_hex(8)
    _current.set(trace)
    return trace
