"""Wrong options for questions whose right answer a generator knows: drawn once, for ever the same.

No random generator is used, so that no version of Python draws others: candidates are put in the
order of their hashes, and the first are taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

_NEAR = (-10, -3, -2, -1, 1, 2, 3, 10)
"""What slips of the hand and of a digit make of a whole number."""


def choose(
    right: str,
    *,
    kind: str,
    key: str,
    among: Sequence[str],
    count: int,
    is_right: Callable[[str], bool],
) -> tuple[list[str], int]:
    """Return options in a drawn order, and the place of the right one.

    Args:
        right: The right answer.
        kind: `near` draws whole numbers near the right one; `given` takes all of `among`; `pool`
            draws from `among`.
        key: Names the question; another key draws otherwise.
        among: What the options are taken from, unless they are near numbers.
        count: How many wrong options are drawn.
        is_right: Tells whether an option would be accepted as an answer; none such is drawn.

    Raises:
        ValueError: There are too few wrong options.
    """
    found = _near(right) if kind == "near" else among
    wrong = [text for text in dict.fromkeys(found) if text != right and not is_right(text)]
    if kind != "given":
        wrong = _ordered(wrong, f"{key}:drawn")[:count]
        if len(wrong) < count:
            raise ValueError(f"{len(wrong)} wrong options for {right!r}, not {count}")
    options = _ordered([right, *wrong], f"{key}:shown")
    return options, options.index(right)


def offered(choices: Mapping[str, Any], metadata: Mapping[str, Any]) -> list[str]:
    """Return what a task's options are taken from, so far as one question tells."""
    if "texts" in choices:
        return list(map(str, choices["texts"]))
    return list(map(str, metadata[choices["field"]])) if "field" in choices else []


def _near(right: str) -> list[str]:
    number = int(right)
    return [str(number + step) for step in _NEAR] + [str(-number)]


def _ordered(texts: Iterable[str], key: str) -> list[str]:
    return sorted(texts, key=lambda text: hashlib.sha256(f"{key}\0{text}".encode()).digest())
