"""Several responses put before a model under numbers, and the number it chooses."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evaluators.critique.quoting import quoted

_NUMBER = re.compile(r"\bchoice\W{0,6}?([-−]?\d{1,4})\b", re.IGNORECASE)
_REQUEST = re.compile(
    r"\bchoice\W{0,6}\d{1,4}\W{1,6}or\W{1,6}(?:choice\W{0,6})?\d{1,4}\b", re.IGNORECASE
)
"""Two numbers in one breath: the instruction repeated, not followed."""


def numbered(texts: Sequence[str], *, label: str = "response") -> str:
    """Return texts as quoted blocks numbered from 1, in the order given."""
    return "\n\n".join(quoted(text, f"{label} {i}") for i, text in enumerate(texts, start=1))


def read_choice(text: str, count: int) -> int | None:
    """Return the index, from 0, of the last `Choice: N` with N from 1 to `count`; None if none."""
    found = _NUMBER.findall(_REQUEST.sub(" ", text))
    number = int(found[-1].replace("−", "-")) if found else 0
    return number - 1 if 1 <= number <= count else None
