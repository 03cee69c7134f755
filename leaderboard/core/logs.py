"""Log filters: add the trace id, take secrets out."""

from __future__ import annotations

import html
import logging
import re

from leaderboard.core.trace import current_trace

MASK = "[redacted]"
_SECRETS = (
    re.compile(r"(?<=://)[^\s/:@]*:[^\s/@]+(?=@)"),  # user:password of a URL
    re.compile(r"(?i)(?<=bearer )[\w.~+/=-]{8,}"),
    re.compile(r"\b(?:hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|rdt_[A-Za-z0-9_-]{16,})"),
    re.compile(
        r"(?i)(?<![a-z])(?:password|passwd|secret|api[_-]?key|token|secret_key)"
        r"[\"']?\s*[=:]\s*(?P<value>[\"'][^\"']+[\"']|[^\s,;&\"'}]+)"
    ),
)
SHORTEST = 6
"""Characters below which a secret is too common a word to be taken out wherever it stands."""

MOST_CONCEALED = 1000
"""Secrets that a process remembers in order to take them out."""

_concealed: dict[str, None] = {}


def conceal(secret: str) -> None:
    """Take this very text out of every log line that the process writes from now on."""
    if len(secret) < SHORTEST:
        return
    _concealed.pop(secret, None)
    _concealed[secret] = None
    while len(_concealed) > MOST_CONCEALED:
        del _concealed[next(iter(_concealed))]


def without_concealed(text: str) -> str:
    """Return the text without the secrets that this process has been told of."""
    for secret in list(_concealed):
        for spelled in (secret, html.escape(secret)):
            text = text.replace(spelled, MASK)
    return text


def redact(text: str) -> str:
    """Return the text with passwords, keys and tokens replaced."""
    text = without_concealed(text)
    for pattern in _SECRETS:
        text = pattern.sub(_mask, text)
    return text


def _mask(match: re.Match[str]) -> str:
    value = match.groupdict().get("value")
    return match.group().replace(value, MASK) if value else MASK


class TraceFilter(logging.Filter):
    """Gives every record the trace id."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add `trace` to the record."""
        record.trace = getattr(record, "trace", None) or current_trace()
        return True


class RedactFilter(logging.Filter):
    """Takes secrets out of a record's text and traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the message, and the traceback's text, by cleaned ones."""
        record.msg, record.args = redact(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        return True
