"""The two estimators of "Confidence v.s. Critique" (2412.19513): from samples, and from labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from evaluators.metrics.estimate import Estimate, null
from evaluators.metrics.estimators import bootstrapped, cluster_totals
from evaluators.metrics.measures import NONE_RIGHT, NONE_WRONG
from evaluators.metrics.trajectory import codes
from evaluators.model import Json

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CERTAIN = 1e-12
"""A probability this close to 0 or 1 carries no weight on the other side."""


@dataclass(frozen=True, slots=True)
class Odds:
    """Chances of one question."""

    first: float
    """P(a): the first answer is right."""
    kept: float
    """P(b|a): the second is right after a right first; 0, without weight, where there is none."""
    fixed: float
    """P(b|not a): the second is right after a wrong first; 0, without weight, likewise."""


@dataclass(frozen=True, slots=True)
class Confidence:
    """The paper's figures, intervals by bootstrap over questions."""

    acc1: Estimate
    acc2: Estimate
    CL: Estimate
    CS: Estimate
    RSS: Estimate

    def to_json(self) -> dict[str, Json]:
        """Return the estimates by name."""
        return {field.name: getattr(self, field.name).to_json() for field in fields(self)}


def cvc_generation(questions: Sequence[Sequence[tuple[bool, bool]]]) -> Confidence:
    """Estimate from k sampled (first right, second right) pairs of every question.

    Questions count equally, however many pairs each has left.

    Raises:
        ValueError: A question has no pair.
    """
    return cvc_odds([_odds_of_pairs(pairs) for pairs in questions])


def _odds_of_pairs(pairs: Sequence[tuple[bool, bool]]) -> Odds:
    if not pairs:
        msg = "a question without pairs has no odds"
        raise ValueError(msg)
    right = sum(first for first, _ in pairs)
    kept = sum(first and second for first, second in pairs)
    fixed = sum(second and not first for first, second in pairs)
    wrong = len(pairs) - right
    return Odds(right / len(pairs), kept / right if right else 0.0, fixed / wrong if wrong else 0.0)


def cvc_classification(
    gold: Sequence[int], p1: Sequence[Sequence[float]], p2: Sequence[Sequence[Sequence[float]]]
) -> Confidence:
    """Estimate from label probabilities, question by question.

    Args:
        gold: Index of the right label.
        p1: Probabilities of the labels as first answer.
        p2: For every label forced as first answer, the probabilities of the labels as second.

    Raises:
        ValueError: The three disagree on questions or labels, or a row is not a distribution.
    """
    rows = zip(gold, p1, p2, strict=True)
    return cvc_odds([odds_of_labels(g, first, second) for g, first, second in rows])


def odds_of_labels(gold: int, p1: Sequence[float], p2: Sequence[Sequence[float]]) -> Odds:
    """Return the chances of one question, from the probabilities of its labels.

    Raises:
        ValueError: Gold and the rows do not fit each other, or a row is not a distribution.
    """
    labels = len(p1)
    if not 0 <= gold < labels or len(p2) != labels or any(len(row) != labels for row in p2):
        msg = f"gold {gold} and {len(p2)} rows do not fit {labels} labels"
        raise ValueError(msg)
    for row in (p1, *p2):
        if min(row) < 0 or abs(sum(row) - 1) > 1e-3:
            msg = f"not a distribution over labels: {row}"
            raise ValueError(msg)
    first = p1[gold]
    mended = sum(p1[j] * p2[j][gold] for j in range(labels) if j != gold)
    return Odds(first, p2[gold][gold], mended / (1 - first) if first < 1 - CERTAIN else 0.0)


def cvc_odds(odds: Sequence[Odds], *, clusters: Sequence[object] | None = None) -> Confidence:
    """Estimate from the chances of every question.

    Args:
        clusters: What every question belongs to; questions of one cluster move together.
    """
    import numpy as np

    n = len(odds)
    if not n:
        nothing = null("no question was scored")
        return Confidence(nothing, nothing, nothing, nothing, nothing)
    first, kept, fixed = (
        np.array([getattr(o, name) for o in odds]) for name in ("first", "kept", "fixed")
    )
    # Per question: its weight, chance right at first, right and kept, wrong and fixed.
    columns = (np.ones(n), first, first * kept, (1 - first) * fixed)
    totals = cluster_totals(codes(range(n) if clusters is None else clusters), *columns)

    def estimate(statistic: Callable[[Floats], Floats], reason: str) -> Estimate:
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(statistic(totals.sum(axis=0, keepdims=True))[0])
        if not np.isfinite(value):
            return null(reason, n=n, n_total=n, denominator=0)
        return bootstrapped(Estimate(value, n=n, n_total=n), totals, statistic)

    one_sided = NONE_WRONG if first.sum() > CERTAIN else NONE_RIGHT
    return Confidence(
        acc1=estimate(lambda s: s[:, 1] / s[:, 0], ""),
        acc2=estimate(lambda s: (s[:, 2] + s[:, 3]) / s[:, 0], ""),
        CL=estimate(lambda s: s[:, 2] / _weight(s[:, 1]), NONE_RIGHT),
        CS=estimate(lambda s: s[:, 3] / _weight(s[:, 0] - s[:, 1]), NONE_WRONG),
        RSS=estimate(_rss, one_sided),
    )


def _weight(sums: Floats) -> Floats:
    """Return sums of probabilities, NaN where rounding alone keeps them from 0."""
    import numpy as np

    return np.where(sums > CERTAIN, sums, np.nan)


def _rss(sums: Floats) -> Floats:
    acc1, acc2 = sums[:, 1] / sums[:, 0], (sums[:, 2] + sums[:, 3]) / sums[:, 0]
    result: Floats = (acc2 - acc1**2) / _weight(2 * acc1 * (1 - acc1))
    return result
