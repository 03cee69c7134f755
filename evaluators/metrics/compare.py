"""Two results on the same samples: paired differences, and ranks with ties."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from evaluators.metrics.decompose import Significance
from evaluators.metrics.estimate import Estimate, null
from evaluators.metrics.estimators import (
    NO_PAIR,
    bootstrapped,
    cluster_totals,
    difference,
    gain,
)
from evaluators.metrics.intervals import (
    McNemar,
    Z,
    clustered_se,
    mcnemar,
    square_and_add,
    student_p,
)
from evaluators.metrics.measures import ONE_ANSWER, accuracy_at, cost
from evaluators.metrics.trajectory import Costs, Graded, Trajectory
from evaluators.model import Json

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ONE_SIDED = "null on one side"

PAIRED_COSTS: tuple[Costs, ...] = ("calls", "tokens_in", "tokens_out", "tokens_computed")
"""What two results cost: logical, but for the tokens that were really generated."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the right-hand result does differently from the left, on the samples scored in both."""

    n: int
    """Samples scored on both sides; everything else is left out."""
    only_left: int
    only_right: int
    differences: Mapping[str, Estimate]
    """Right minus left, for acc@1, acc@last, delta, CL, CS and RSS."""
    mcnemar: McNemar
    """On the last answers: b right only on the left, c right only on the right."""
    correlation: float | None
    """Of the last answers; None where one side never varies."""
    significance: Significance
    """Whether the last answers differ by more than chance: McNemar's test needs independence."""

    def to_json(self) -> dict[str, Json]:
        """Return plain JSON, differences by metric name."""
        return {
            "n": self.n,
            "only_left": self.only_left,
            "only_right": self.only_right,
            "differences": {name: e.to_json() for name, e in self.differences.items()},
            "mcnemar": self.mcnemar.to_json(),
            "correlation": self.correlation,
            "significance": self.significance.to_json(),
        }


def compare(left: Iterable[Trajectory], right: Iterable[Trajectory]) -> Comparison:
    """Compare two results sample by sample, paired on (task, id, replicate)."""
    lefts, rights = _by_key(left), _by_key(right)
    keys = sorted(lefts.keys() & rights.keys())
    a, b = Graded(lefts[key] for key in keys), Graded(rights[key] for key in keys)
    n_total = len(lefts.keys() | rights.keys())
    return Comparison(
        n=len(keys),
        only_left=len(lefts) - len(keys),
        only_right=len(rights) - len(keys),
        differences=_differences(a, b, n_total=n_total),
        mcnemar=_flips_between(a, b),
        correlation=_correlation(a, b),
        significance=_significance(a, b),
    )


def _by_key(trajectories: Iterable[Trajectory]) -> dict[tuple[str, str, int], Trajectory]:
    return {(t.task, t.id, t.replicate): t for t in Graded(trajectories).scored}


def _flips_between(a: Graded, b: Graded) -> McNemar:
    if not a.n:
        return mcnemar(0, 0)
    return mcnemar(int((a.right(-1) & ~b.right(-1)).sum()), int((~a.right(-1) & b.right(-1)).sum()))


def _significance(a: Graded, b: Graded) -> Significance:
    if not a.n:
        return Significance(None, "none")
    if a.independent:
        return Significance(_flips_between(a, b).p_exact, "mcnemar exact")
    moves = b.right(-1).astype(float) - a.right(-1)
    se = clustered_se(moves, a.clusters)
    if se is None:
        return Significance(None, "none")
    p = student_p(float(moves.mean()), se, a.cluster_count - 1)
    return Significance(p, "clustered t, paired")


def _correlation(a: Graded, b: Graded) -> float | None:
    import numpy as np

    if not a.n or len({*a.right(-1).tolist()}) < 2 or len({*b.right(-1).tolist()}) < 2:
        return None
    return float(np.corrcoef(a.right(-1), b.right(-1))[0, 1])


def _differences(a: Graded, b: Graded, *, n_total: int) -> dict[str, Estimate]:
    names = ("acc@1", "acc@last", "delta", "CL", "CS", "RSS")
    if not a.n:
        return dict.fromkeys(names, null(NO_PAIR, n_total=n_total))
    accuracies = {
        "acc@1": gain(a.right(0), b.right(0), a.clusters, n_total=n_total),
        "acc@last": gain(a.right(-1), b.right(-1), a.clusters, n_total=n_total),
    }
    if min(a.turns, b.turns) < 2:
        return accuracies | dict.fromkeys(names[2:], null(ONE_ANSWER, n=a.n, n_total=n_total))
    cells = [_cells_by_sample(g) for g in (a, b)]
    totals = cluster_totals(a.clusters, *cells[0], *cells[1])
    return accuracies | {
        "delta": _gained_more(a, b, n_total=n_total),
        "CL": _bootstrapped_difference(totals, _kept, n=a.n, n_total=n_total),
        "CS": _bootstrapped_difference(totals, _fixed, n=a.n, n_total=n_total),
        "RSS": _bootstrapped_difference(totals, _rss, n=a.n, n_total=n_total),
    }


def _gained_more(a: Graded, b: Graded, *, n_total: int) -> Estimate:
    """Difference of the two gains; where it is the same on every sample, from their intervals."""
    less, more = (g.right(-1).astype(float) - g.right(0) for g in (a, b))
    found = difference(less, more, a.clusters, n_total=n_total)
    if found.se:
        return found
    ours, theirs = (gain(g.right(0), g.right(-1), a.clusters, n_total=n_total) for g in (b, a))
    sides = ((e.value or 0.0, e.low or 0.0, e.high or 0.0) for e in (ours, theirs))
    low, high = square_and_add(*sides)
    method = "newcombe, of both gains"
    return replace(found, low=max(-2.0, low), high=min(2.0, high), method=method, reason="")


def _cells_by_sample(graded: Graded) -> tuple[NDArray[np.bool_], ...]:
    first, last = graded.right(0), graded.right(-1)
    return first & last, first & ~last, ~first & last, ~first & ~last


def _kept(cells: Floats) -> Floats:
    cc, ci, _, _ = cells
    result: Floats = cc / (cc + ci)
    return result


def _fixed(cells: Floats) -> Floats:
    _, _, ic, ii = cells
    result: Floats = ic / (ic + ii)
    return result


def _rss(cells: Floats) -> Floats:
    cc, ci, ic, ii = cells
    right, wrong = cc + ci, ic + ii
    result: Floats = ((right + wrong) * (cc + ic) - right**2) / (2 * right * wrong)
    return result


def _bootstrapped_difference(
    totals: Floats, statistic: Callable[[Floats], Floats], *, n: int, n_total: int
) -> Estimate:
    import numpy as np

    def between(sums: Floats) -> Floats:
        result: Floats = statistic(sums.T[4:]) - statistic(sums.T[:4])
        return result

    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(between(totals.sum(axis=0, keepdims=True))[0])
    if not np.isfinite(value):
        return null(ONE_SIDED, n=n, n_total=n_total)
    return bootstrapped(Estimate(value, n=n, n_total=n_total), totals, between)


@dataclass(frozen=True, slots=True)
class Paired:
    """Two results on the samples scored in both: how often each is right, and at what cost."""

    n: int
    n_total: int
    """Samples of either side."""
    left: Mapping[str, Estimate]
    """`acc` of the last answer, `calls`, `tokens_in`, `tokens_out` and `tokens_computed`."""
    right: Mapping[str, Estimate]
    difference: Estimate
    """Accuracy, right minus left."""
    significance: Significance


def pair(left: Iterable[Trajectory], right: Iterable[Trajectory]) -> Paired:
    """Compare last answers and costs sample by sample; the part of `compare` that is cheap."""
    lefts, rights = _by_key(left), _by_key(right)
    keys = sorted(lefts.keys() & rights.keys())
    a, b = Graded(lefts[key] for key in keys), Graded(rights[key] for key in keys)
    n_total = len(lefts.keys() | rights.keys())
    return Paired(
        n=len(keys),
        n_total=n_total,
        left=_figures(a),
        right=_figures(b),
        difference=_last_difference(a, b, n_total=n_total),
        significance=_significance(a, b),
    )


def _figures(graded: Graded) -> dict[str, Estimate]:
    found = {"acc": accuracy_at(-1)(graded)}
    found.update({name: cost(name)(graded) for name in PAIRED_COSTS})
    return found


def _last_difference(a: Graded, b: Graded, *, n_total: int) -> Estimate:
    if not a.n:
        return null(NO_PAIR, n_total=n_total)
    return gain(a.right(-1), b.right(-1), a.clusters, n_total=n_total)


def significantly_better(a: Estimate, b: Estimate, *, lower_is_better: bool = False) -> bool:
    """Tell whether `a` beats `b`, two independent estimates, at 95 %.

    The difference has to exceed the reach of both intervals, added in squares. That is
    1.96 sqrt(SE_a^2 + SE_b^2) where they are symmetric, and honest where a share of 1 has SE 0.
    """
    if a.value is None or b.value is None or None in {a.low, a.high, b.low, b.high}:
        return False
    one, other = ((e.value or 0.0, e.low or 0.0, e.high or 0.0) for e in (a, b))
    low, high = square_and_add(one, other)
    return high < 0 if lower_is_better else low > 0


def ranks(entries: Sequence[Estimate], *, lower_is_better: bool = False) -> list[int | None]:
    """Rank independent estimates: 1 + the number of entries significantly better, so ties share.

    An entry without value or interval has no rank; it stands last.
    """
    import numpy as np

    known = [i for i, e in enumerate(entries) if e.value is not None and e.has_interval]
    bounds = [(entries[i].value, entries[i].low, entries[i].high) for i in known]
    value, low, high = np.array(bounds, dtype=float).reshape(-1, 3).T * (1, -1)[lower_is_better]
    if lower_is_better:
        low, high = high, low
    lead = value[:, None] - value[None, :]
    beats = lead > np.hypot((value - low)[:, None], (high - value)[None, :])
    found: list[int | None] = [None] * len(entries)
    for i, better in zip(known, beats.sum(axis=0).tolist(), strict=True):
        found[i] = 1 + better
    return found


def interval_p(difference: Estimate) -> float | None:
    """Return the two-sided p-value that the interval of a difference stands for.

    Normal on the side of 0, so it is below 0.05 exactly where the interval leaves 0 out. For means
    over tasks, which have no exact test of their own.
    """
    value, low, high = difference.value, difference.low, difference.high
    if value is None or low is None or high is None:
        return None
    reach = value - low if value > 0 else high - value
    if not reach:
        return float(not value)
    return math.erfc(Z * abs(value) / reach / math.sqrt(2))


def holm(ps: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm's step-down procedure."""
    adjusted, floor = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        floor = max(floor, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = floor
    return adjusted


def benjamini_hochberg(ps: Sequence[float]) -> list[float]:
    """Return p-values corrected so that their cut bounds the share of false discoveries."""
    adjusted, ceiling = [0.0] * len(ps), 1.0
    by_size = sorted(range(len(ps)), key=lambda i: ps[i], reverse=True)
    for rank, index in enumerate(by_size):
        ceiling = min(ceiling, ps[index] * (len(ps) / (len(ps) - rank)))
        adjusted[index] = ceiling
    return adjusted
