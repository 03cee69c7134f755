"""Performance, gain and cost of looking again (2310.07611), and how to weigh them up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluators.metrics import measures as m
from evaluators.metrics.estimate import Estimate, null
from evaluators.metrics.estimators import bootstrapped, cluster_totals
from evaluators.metrics.metric import Metric
from evaluators.metrics.trajectory import Graded, Trajectory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NOTHING_GENERATED = "the first answers took no generated tokens"


def relative_cost(trajectories: Sequence[Trajectory]) -> Estimate:
    """Divide all generated tokens by those of the first answers; 1 is an answer left alone."""
    graded = Graded.of(trajectories)
    if not graded.n:
        return null(m.NOTHING_SCORED, n_total=graded.n_total)
    total, known = graded.cost("tokens_out")
    first, also = graded.cost("tokens_first")
    if not (known & also).all():
        return null(m.FIRST_UNKNOWN, n=graded.n, n_total=graded.n_total)
    above, below = float(total.sum()), float(first.sum())
    if not below:
        return null(NOTHING_GENERATED, n=graded.n, n_total=graded.n_total, denominator=0)
    base = Estimate(
        above / below, n=graded.n, n_total=graded.n_total, numerator=above, denominator=below
    )
    return bootstrapped(base, cluster_totals(graded.clusters, total, first), _ratio)


def _ratio(sums: Floats) -> Floats:
    result: Floats = sums[:, 0] / sums[:, 1]
    return result


perf_gain_cost: tuple[Metric, ...] = (
    Metric(
        "perf",
        "Performance",
        "Share right at the last answer, as acc@last: sum(c_T) / n.",
        direction="higher",
        unit="fraction",
        group="efficiency",
        compute=m.accuracy_at(m.LAST),
    ),
    Metric(
        "gain",
        "Gain",
        "What the last answer has over the first, as delta: acc@last - acc@1, paired.",
        direction="higher",
        unit="difference",
        group="efficiency",
        compute=m.gain_at(m.LAST),
    ),
    Metric(
        "cost",
        "Relative cost",
        "Generated tokens per token of the first answers: sum(tokens_out) / sum(tokens_first).",
        direction="lower",
        unit="ratio",
        group="efficiency",
        compute=relative_cost,
    ),
)
"""Three figures to weigh up against each other."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What one model or method reached, at what cost."""

    name: str
    perf: float
    """Accuracy at the end."""
    gain: float
    """What of it looking again added; 0 where there was no second look."""
    cost: float
    """Generated tokens relative to the first answer's; 1 without a second look."""

    def __post_init__(self) -> None:
        """Refuse figures that cannot be weighed up."""
        if not all(map(math.isfinite, (self.perf, self.gain, self.cost))) or self.cost <= 0:
            msg = f"{self.name}: perf, gain and a cost above 0 are needed to weigh it up"
            raise ValueError(msg)

    def dominates(self, other: Standing) -> bool:
        """Tell whether it is nowhere worse than the other and better somewhere."""
        mine = (self.perf, self.gain, -self.cost)
        theirs = (other.perf, other.gain, -other.cost)
        return mine != theirs and all(a >= b for a, b in zip(mine, theirs, strict=True))


def pareto_front(standings: Sequence[Standing]) -> list[Standing]:
    """Return those that no other dominates, in the order given; equals stay together."""
    return [one for one in standings if not any(other.dominates(one) for other in standings)]


def weighed(
    standing: Standing, *, perf: float = 1.0, gain: float = 1.0, cost: float = 0.0
) -> float:
    """Return one figure by a user's own weights: perf and gain less doublings of the cost.

    Not the paper's score, whose formula is not settled.

    Args:
        perf: Weight of accuracy at the end.
        gain: Weight of what looking again added to it.
        cost: Points taken off each time that the cost doubles.
    """
    return perf * standing.perf + gain * standing.gain - cost * math.log2(standing.cost)
