"""How each bundled metric is computed; what they mean stands in the catalogue."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from evaluators.metrics.estimate import Estimate, null
from evaluators.metrics.estimators import (
    bootstrapped,
    cluster_totals,
    flips,
    gain,
    mean,
    proportion,
    within,
)
from evaluators.metrics.intervals import wilson
from evaluators.metrics.trajectory import Costs, Graded, Trajectory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

NOTHING_SCORED = "no sample was scored"
ONE_ANSWER = "one answer only: nothing to compare it with"
NONE_RIGHT = "no answer was right at first"
NONE_WRONG = "no answer was wrong at first"
NO_FLIP = "no answer flipped"
NO_NET_FIX = "no more answers were fixed than spoilt"
NOT_CLEARLY = "the net number of fixes is not clearly above 0"
FIRST_UNKNOWN = "tokens of the first answer not recorded"
NO_EXTRA = "nothing was spent beyond the first answer"

UNSTABLE = 0.05
"""Above this share of null resamples a cost per net fix has no meaningful interval."""

LAST = -1

Compute = Callable[[Sequence[Trajectory]], Estimate]
Cell = Literal["cc", "ci", "ic", "ii"]


def _over_scored(body: Callable[[Graded], Estimate]) -> Compute:
    """Guard a measure that needs at least one scored sample."""

    def compute(trajectories: Sequence[Trajectory]) -> Estimate:
        graded = Graded.of(trajectories)
        return body(graded) if graded.n else null(NOTHING_SCORED, n_total=graded.n_total)

    return compute


def _over_pairs(body: Callable[[Graded], Estimate]) -> Compute:
    """Guard a measure that compares the first answer with a later one."""

    def guarded(graded: Graded) -> Estimate:
        if graded.turns < 2:
            return null(ONE_ANSWER, n=graded.n, n_total=graded.n_total)
        return body(graded)

    return _over_scored(guarded)


def _share(graded: Graded, hits: Bools, base: Bools, empty: str) -> Estimate:
    return proportion(hits, base, graded.clusters, n_total=graded.n_total, empty=empty)


def accuracy_at(turn: int) -> Compute:
    """Share right at a turn, from 0; negative counts from the end; beyond the end is the end."""

    def body(graded: Graded) -> Estimate:
        right = graded.right(turn)
        return _share(graded, right, right | True, NOTHING_SCORED)

    return _over_scored(body)


def recorded_at(
    state: Literal["parsed", "truncated", "abstained"], turn: int, *, counting: bool
) -> Compute:
    """Share of samples whose recorded state at a turn is `counting`."""

    def body(graded: Graded) -> Estimate:
        values, recorded = graded.state(state, turn)
        return _share(graded, values == counting, recorded, f"{state} not recorded")

    return _over_scored(body)


def gain_at(turn: int) -> Compute:
    """Accuracy at a turn less accuracy of the first answer."""
    return _over_pairs(
        lambda g: gain(g.right(0), g.right(turn), g.clusters, n_total=g.n_total),
    )


def kept_at(turn: int) -> Compute:
    """CL: of the answers right at first, the share right at a turn."""
    return _over_pairs(lambda g: _share(g, g.right(turn), g.right(0), NONE_RIGHT))


def fixed_at(turn: int) -> Compute:
    """CS: of the answers wrong at first, the share right at a turn."""
    return _over_pairs(lambda g: _share(g, g.right(turn), ~g.right(0), NONE_WRONG))


def _masks(graded: Graded) -> dict[Cell, Bools]:
    first, last = graded.right(0), graded.right(LAST)
    return {"cc": first & last, "ci": first & ~last, "ic": ~first & last, "ii": ~first & ~last}


def count_of(cell: Cell) -> Compute:
    """Count the trajectories of one transition."""

    def body(graded: Graded) -> Estimate:
        number = int(_masks(graded)[cell].sum())
        return Estimate(number, n=graded.n, n_total=graded.n_total, method="count")

    return _over_pairs(body)


def rate_of(cell: Cell) -> Compute:
    """Share of one transition among all trajectories."""

    def body(graded: Graded) -> Estimate:
        mask = _masks(graded)[cell]
        return _share(graded, mask, mask | True, NOTHING_SCORED)

    return _over_pairs(body)


def stubborn(*, changed: bool) -> Compute:
    """Share of trajectories wrong at both ends whose answer changed on the way, or did not."""

    def body(graded: Graded) -> Estimate:
        moved, recorded = graded.ever_changed()
        hits = _masks(graded)["ii"] & (moved == changed)
        return _share(graded, hits, recorded, "changes not recorded")

    return _over_pairs(body)


@_over_pairs
def change_rate(graded: Graded) -> Estimate:
    """Share of trajectories whose answer changed at any turn."""
    moved, recorded = graded.ever_changed()
    return _share(graded, moved, recorded, "changes not recorded")


def _counted(graded: Graded, above: float, below: float) -> Estimate:
    """Return a quotient of counts, still without interval."""
    return Estimate(
        above / below, n=graded.n, n_total=graded.n_total, numerator=above, denominator=below
    )


def _cell_totals(graded: Graded) -> Floats:
    return cluster_totals(graded.clusters, *_masks(graded).values())


@_over_pairs
def rss(graded: Graded) -> Estimate:
    """RSS from counts, never clamped, with a bootstrap interval."""
    cells = flips(graded.right(0), graded.right(LAST))
    n, right, wrong = cells.n, cells.cc + cells.ci, cells.ic + cells.ii
    spread = 2 * right * wrong
    if not spread:
        reason = NONE_WRONG if right else NONE_RIGHT
        return null(reason, n=graded.n, n_total=graded.n_total, denominator=0)
    base = _counted(graded, n * (cells.cc + cells.ic) - right**2, spread)
    estimate = bootstrapped(base, _cell_totals(graded), _rss_of)
    if estimate.has_interval:
        return estimate
    # Nothing to resample. RSS is 1/2 + delta / (2 acc1 (1 - acc1)), so delta's interval serves.
    delta, scale = gain_at(LAST)(graded), n * n / spread
    low, high = (None if end is None else 0.5 + end * scale for end in (delta.low, delta.high))
    return replace(estimate, low=low, high=high, method=f"{delta.method}, of delta", reason="")


def _rss_of(sums: Floats) -> Floats:
    cc, ci, ic, ii = sums.T
    right = cc + ci
    result: Floats = ((right + ic + ii) * (cc + ic) - right**2) / (2 * right * (ic + ii))
    return result


@_over_pairs
def break_even(graded: Graded) -> Estimate:
    """First accuracy at which these CL and CS neither help nor harm."""
    cells = flips(graded.right(0), graded.right(LAST))
    right, wrong = cells.cc + cells.ci, cells.ic + cells.ii
    fixes, harms = cells.ic * right, cells.ci * wrong
    if not fixes + harms:
        reason = NO_FLIP if right and wrong else NONE_WRONG if right else NONE_RIGHT
        return null(reason, n=graded.n, n_total=graded.n_total, denominator=0)
    base = _counted(graded, fixes, fixes + harms)
    return bootstrapped(base, _cell_totals(graded), _break_even_of)


def _break_even_of(sums: Floats) -> Floats:
    cc, ci, ic, ii = sums.T
    fixes, harms = ic * (cc + ci), ci * (ic + ii)
    result: Floats = fixes / (fixes + harms)
    return result


def cost(name: Costs) -> Compute:
    """Mean of a cost per sample."""

    def compute(graded: Graded) -> Estimate:
        missing = f"{name} not recorded"
        found = mean(*graded.cost(name), graded.clusters, n_total=graded.n_total, missing=missing)
        return within(found, 0, math.inf)

    return _over_scored(compute)


def _extra(graded: Graded) -> tuple[Floats, Bools]:
    total, known = graded.cost("tokens_out")
    first, also = graded.cost("tokens_first")
    return total - first, known & also


@_over_scored
def extra_tokens(graded: Graded) -> Estimate:
    """Mean of the generated tokens beyond the first answer."""
    return mean(*_extra(graded), graded.clusters, n_total=graded.n_total, missing=FIRST_UNKNOWN)


@_over_pairs
def tokens_per_net_fix(graded: Graded) -> Estimate:
    """Generated tokens beyond the first answers, per answer fixed on balance."""
    extra, known = _extra(graded)
    if not known.all():
        return null(FIRST_UNKNOWN, n=graded.n, n_total=graded.n_total)
    return per_net_fix(graded, extra)


def per_net_fix(graded: Graded, spent: Floats) -> Estimate:
    """Divide what was spent beyond the first answers by the answers fixed on balance."""
    moves = graded.right(LAST).astype(float) - graded.right(0)
    net = int(moves.sum())
    if net <= 0:
        return null(NO_NET_FIX, n=graded.n, n_total=graded.n_total, denominator=net)
    if not spent.any():
        return null(NO_EXTRA, n=graded.n, n_total=graded.n_total, denominator=net)
    base = _counted(graded, float(spent.sum()), net)
    totals = cluster_totals(graded.clusters, spent, moves)
    estimate = bootstrapped(base, totals, _positive_ratio)
    if estimate.dropped <= UNSTABLE:
        return estimate
    return replace(base, dropped=estimate.dropped, reason=NOT_CLEARLY)


def _positive_ratio(sums: Floats) -> Floats:
    import numpy as np

    return np.where(sums[:, 1] > 0, sums[:, 0] / sums[:, 1], np.nan)


def unscored(trajectories: Sequence[Trajectory]) -> Estimate:
    """Share of the samples asked for that have no score."""
    graded = Graded.of(trajectories)
    total, missing = graded.n_total, graded.n_total - graded.n
    if not total:
        return null("no sample was asked for", denominator=0)
    share = missing / total
    low, high = wilson(missing, total)
    return Estimate(
        share,
        low,
        high,
        n=total,
        n_total=total,
        numerator=missing,
        denominator=total,
        se=(share * (1 - share) / total) ** 0.5,
        method="wilson",
    )
