"""Reads a verdict from the end of a critique."""

from __future__ import annotations

import re
from typing import Literal

Judged = Literal["correct", "wrong"]
"""What a critique says of an answer."""

CORRECT = r"correct|right"
"""How an answer is called right."""

WRONG = r"wrong|incorrect|not\s+correct"
"""How an answer is called wrong."""

_OR = r"(?:\W|</\w{1,9}>|\([^()\n]{1,60}\)){0,8}(?:\bor\b|[/|])\W{0,6}"
"""What stands between two words in one breath: marks, the end of a tag, a remark in brackets."""


def stated(
    text: str, *, mark: str = r"\bverdict", yes: str = CORRECT, no: str = WRONG
) -> list[re.Match[str]]:
    """Return every place where one of two things is said after a mark, as in `Verdict: correct`.

    Models restate the instruction before they follow it, or instead: both things in one breath, as
    in `"Verdict: correct" or "Verdict: wrong"`, are the request repeated, and say nothing.

    Args:
        mark: Regular expression of what stands before it, without named groups.
        yes, no: Regular expressions of the two; a match has the one found in the group so named.
    """
    said = rf"(?:{mark})\W{{0,6}}"
    other = rf"\b{_OR}(?:{said})?"
    request = rf"{said}(?:(?:{yes}){other}(?:{no})|(?:{no}){other}(?:{yes}))\b"
    own = re.sub(request, lambda found: " " * len(found[0]), text, flags=re.IGNORECASE)
    return [*re.finditer(rf"{said}(?:(?P<yes>{yes})|(?P<no>{no}))\b", own, re.IGNORECASE)]


def parse_verdict(critique: str) -> Judged | None:
    """Return the verdict that a critique ends on, or None when it states none.

    Critique prompts ask for a last line `Verdict: correct` or `Verdict: wrong`. Of several, the
    last one counts; the request repeated is none (`stated`).
    """
    found = stated(critique)
    if not found:
        return None
    return "correct" if found[-1]["yes"] else "wrong"
