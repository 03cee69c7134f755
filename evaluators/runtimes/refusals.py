"""What a server's refusal of a request means."""

from __future__ import annotations

import re

from evaluators.errors import CallRefused, ContextTooLong

_TOO_LONG = re.compile(
    r"context[ _](window|length)|maximum (context|model|prompt|input) length|max_model_len"
    r"|too many (input )?tokens|prompt is too long|longer than the (maximum|model)",
    re.IGNORECASE,
)
"""Words that OpenAI, vLLM, llama.cpp, TGI and our own server have for a prompt that is too long."""


def refusal(status: int, reason: str) -> CallRefused:
    """Return the error that a status of 400 to 499 and the server's own words stand for."""
    kind = ContextTooLong if status in {400, 413, 422} and _TOO_LONG.search(reason) else CallRefused
    return kind(status=status, reason=reason)
