"""How many questions a comparison needs, and what it can see (Miller, 2411.00640)."""

from __future__ import annotations

import math
from statistics import NormalDist


def questions_needed(
    effect: float,
    *,
    between: float,
    within: tuple[float, float] = (0.0, 0.0),
    draws: tuple[int, int] = (1, 1),
    alpha: float = 0.05,
    power: float = 0.8,
) -> int:
    """Return the number of questions at which a paired difference of that size is found.

    Args:
        effect: Difference between the two results, as a fraction.
        between: Variance over questions of the mean difference.
        within: Variance of each side's score on one question.
        draws: Samples of each question on each side.
    """
    variance = between + within[0] / draws[0] + within[1] / draws[1]
    return math.ceil(_quantiles(alpha, power) ** 2 * variance / effect**2)


def smallest_effect(
    questions: int,
    *,
    between: float,
    within: tuple[float, float] = (0.0, 0.0),
    draws: tuple[int, int] = (1, 1),
    alpha: float = 0.05,
    power: float = 0.8,
) -> float:
    """Return the paired difference that so many questions can find; arguments as above."""
    variance = between + within[0] / draws[0] + within[1] / draws[1]
    return _quantiles(alpha, power) * math.sqrt(variance / questions)


UNKNOWN_BETWEEN = 1 / 9
"""Variance of questions' mean differences where nothing is known: Miller's planning value."""

UNKNOWN_WITHIN = 1 / 6
"""Variance of a score on one question where nothing is known, shares being uniform on (0, 1)."""


def planned_effect(
    questions: int, *, replicates: int = 1, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Return the paired difference that a run can find, before anything is known of it.

    Args:
        questions: How many are asked.
        replicates: How often each is asked; 1 at temperature 0 is pessimistic.
    """
    return smallest_effect(
        questions,
        between=UNKNOWN_BETWEEN,
        within=(UNKNOWN_WITHIN, UNKNOWN_WITHIN),
        draws=(replicates, replicates),
        alpha=alpha,
        power=power,
    )


def _quantiles(alpha: float, power: float) -> float:
    normal = NormalDist()
    return normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)
