"""Reads a verdict from the end of a critique."""

from __future__ import annotations

import re
from typing import Literal

Judged = Literal["correct", "wrong"]
"""What a critique says of an answer."""

_LINE = re.compile(
    r"\bverdict\W{0,6}(?P<verdict>correct|right|wrong|incorrect|not\s+correct)\b", re.IGNORECASE
)

_FORM = re.compile(
    r"\bverdict\W{0,6}(?:correct|right)\W{1,6}or\W{1,6}(?:verdict\W{0,6})?(?:wrong|incorrect)\b",
    re.IGNORECASE,
)
"""Both verdicts in one breath: the instruction repeated, not followed."""


def parse_verdict(critique: str) -> Judged | None:
    """Return the verdict that a critique ends on, or None when it states none.

    Critique prompts ask for a last line `Verdict: correct` or `Verdict: wrong`. Of several, the
    last one counts: models restate the instruction before they follow it. The instruction itself,
    `Verdict: correct or wrong`, is no verdict.
    """
    found = _LINE.findall(_FORM.sub(" ", critique))
    if not found:
        return None
    return "correct" if found[-1].lower() in {"correct", "right"} else "wrong"
