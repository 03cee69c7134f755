"""Reads a verdict from the end of a critique."""

from __future__ import annotations

import re
from typing import Literal

Judged = Literal["correct", "wrong"]
"""What a critique says of an answer."""

_LINE = re.compile(
    r"\bverdict\W{0,6}(?P<verdict>correct|right|wrong|incorrect|not\s+correct)\b", re.IGNORECASE
)


def parse_verdict(critique: str) -> Judged | None:
    """Return the verdict that a critique ends on, or None when it states none.

    Critique prompts ask for a last line `Verdict: correct` or `Verdict: wrong`. Of several, the
    last one counts: models restate the instruction before they follow it.
    """
    found = _LINE.findall(critique)
    if not found:
        return None
    return "correct" if found[-1].lower() in {"correct", "right"} else "wrong"
