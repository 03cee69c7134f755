"""Choices that a model weighed: their probabilities, from what a node of the transcript holds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard


@dataclass(frozen=True, slots=True)
class Weighed:
    """One of several texts whose likelihood was asked."""

    text: str
    logprob: float
    probability: float
    """Among the choices alone: all of a node add up to 1."""
    chosen: bool
    """The likeliest; the first of equals."""


def weighed(payload: Mapping[str, Any]) -> list[Weighed]:
    """Return the choices of a node; none where the payload says nothing of that kind.

    Evaluators write payloads as they like, so whatever does not fit is no choice.
    """
    texts, logprobs = payload.get("choices"), payload.get("logprobs")
    if not (_texts(texts) and _numbers(logprobs) and len(texts) == len(logprobs) > 0):
        return []
    top = max(logprobs)
    weights = [math.exp(value - top) for value in logprobs]
    best = logprobs.index(top)
    return [
        Weighed(text, float(logprob), weight / sum(weights), place == best)
        for place, (text, logprob, weight) in enumerate(zip(texts, logprobs, weights, strict=True))
    ]


def as_text(choices: Sequence[Weighed]) -> str:
    """Return the choices as lines, for a download."""
    return "\n\n".join(
        f"[{choice.probability:.4f}, log-probability {choice.logprob:.4f}]\n{choice.text}"
        for choice in choices
    )


def _texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def _numbers(value: object) -> TypeGuard[list[float]]:
    return isinstance(value, list) and all(
        isinstance(entry, int | float) and not isinstance(entry, bool) and math.isfinite(entry)
        for entry in value
    )
