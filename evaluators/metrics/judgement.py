"""What was said about one answer, beside the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Said = Literal["correct", "wrong", "unsure"]

NO_MISTAKE = -1
"""As a location: there is none."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One verdict on one answer."""

    correct: bool
    """Whether the answer is right."""
    verdict: Said | None
    """What was said of it; None where nothing could be read."""
    score: float | None = None
    """The larger, the more likely right; a probability where it lies between 0 and 1."""
    location: int | None = None
    """Step that was called the first mistake, or NO_MISTAKE; None where nothing could be read."""
    gold_location: int | None = None
    """Step that is the first mistake, or NO_MISTAKE; None where that is not known."""
