"""Error ids and the words for them: what happened, what to do, and whose move it is."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, cast

Severity = Literal["info", "warning", "error"]
Responsibility = Literal["yours", "ours", "model", "data"]


@dataclass(frozen=True)
class Message:
    """What is shown for one error id."""

    id: str
    """Never changes; `<what>:<whose>:<name>`."""
    title: str
    """One line: what happened."""
    advice: str
    """One or two sentences: what the reader can do about it."""
    severity: Severity
    responsibility: Responsibility
    """Who can act: whoever submitted, whoever runs the server; or a property of model or data."""


_WHOSE: Mapping[str, Responsibility] = {
    "user": "yours",
    "app": "ours",
    "model": "model",
    "data": "data",
}


def _message(error_id: str, words: Mapping[str, str]) -> Message:
    _, whose, _ = error_id.split(":")
    severity = cast(Severity, words["severity"])
    return Message(error_id, words["title"], words["advice"], severity, _WHOSE[whose])


def _read() -> dict[str, Message]:
    text = Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    return {error_id: _message(error_id, words) for error_id, words in tomllib.loads(text).items()}


UNKNOWN = Message(
    "unknown",
    "Something went wrong",
    "This version has no words for the reason; the details and the log have.",
    "error",
    "ours",
)

MESSAGES: Mapping[str, Message] = MappingProxyType({UNKNOWN.id: UNKNOWN, **_read()})
"""Every message by id; the words are in `messages.toml`."""


def message_for(error_id: str) -> Message:
    """Return the words for an id; an id from a newer version never breaks a page."""
    return MESSAGES.get(error_id, UNKNOWN)
