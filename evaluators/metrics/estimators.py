"""From arrays to estimates: shares, means, gains and ratios, each with the right interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from evaluators.metrics.bootstrap import Resampled, bootstrap
from evaluators.metrics.estimate import Estimate, null
from evaluators.metrics.intervals import (
    Cells,
    clustered_se,
    newcombe,
    student_t,
    wilson,
)
from evaluators.metrics.trajectory import codes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.intp]

ONE_CLUSTER = "one cluster has no interval"
NO_RESAMPLE = "hardly any resample has a value"
FEW_CLUSTERS = 10
"""Resampled, so few would cover the true share in 54 (of 2) to 88 (of 5) of 100 cases, not 95."""

NO_PAIR = "no sample was scored on both sides"


def cluster_totals(clusters: Codes, *columns: NDArray[np.generic]) -> Floats:
    """Sum columns over clusters: one row per cluster."""
    import numpy as np

    size = int(clusters.max()) + 1 if len(clusters) else 0
    summed = [np.bincount(clusters, weights=column, minlength=size) for column in columns]
    return np.stack(summed, axis=1)


def proportion(
    hits: NDArray[np.bool_], base: NDArray[np.bool_], clusters: Codes, *, n_total: int, empty: str
) -> Estimate:
    """Estimate the share of `base` that is in `hits` too.

    Wilson where the samples are independent, else cluster bootstrap. Where the clusters are few, or
    every resample gives the same share, Wilson over the clusters, as if each were one sample.
    """
    import numpy as np

    n = len(base)
    above, below = int(np.count_nonzero(hits & base)), int(np.count_nonzero(base))
    if not below:
        return null(empty, n=n, n_total=n_total, denominator=0)
    share = above / below

    def estimate(
        low: float, high: float, *, se: float | None, method: str, dropped: float = 0.0
    ) -> Estimate:
        return Estimate(share, low, high, n, n_total, above, below, se, method, dropped=dropped)

    count = int(clusters.max()) + 1
    if count == n:
        low, high = wilson(above, below)
        se = math.sqrt(share * (1 - share) / below) if below > 1 else None
        return estimate(low, high, se=se, method="wilson")
    totals = cluster_totals(clusters, hits & base, base)
    drawn = bootstrap(totals, lambda sums: sums[:, 0] / sums[:, 1])
    effective = int(np.count_nonzero(totals[:, 1]))
    if drawn is None or drawn.se == 0 or effective < FEW_CLUSTERS:
        low, high = wilson(share * effective, effective)
        se = drawn.se or None if drawn else None
        return estimate(low, high, se=se, method="wilson over clusters")
    return estimate(
        min(drawn.low, share),
        max(drawn.high, share),
        se=drawn.se,
        method="cluster bootstrap",
        dropped=drawn.dropped,
    )


def share(above: int, below: int, *, n_total: int, empty: str) -> Estimate:
    """Estimate a share of independent samples from its two counts, with Wilson's interval.

    Args:
        empty: Why there is no number, where there is nothing to count.
    """
    if not below:
        return null(empty, n_total=n_total, denominator=0)
    rate = above / below
    se = math.sqrt(rate * (1 - rate) / below) if below > 1 else None
    return Estimate(rate, *wilson(above, below), below, n_total, above, below, se, "wilson")


def mean(
    values: Floats, known: NDArray[np.bool_], clusters: Codes, *, n_total: int, missing: str
) -> Estimate:
    """Estimate the mean of the known values with a clustered Student's t."""
    kept, groups = values[known], clusters[known]
    if not len(kept):
        return null(missing, n_total=n_total)
    middle, se = float(kept.mean()), clustered_se(kept, groups)
    base = Estimate(
        middle,
        n=len(kept),
        n_total=n_total,
        numerator=float(kept.sum()),
        denominator=len(kept),
    )
    if se is None:
        return replace(base, reason=ONE_CLUSTER)
    half = student_t(len(set(groups.tolist())) - 1) * se
    return replace(base, low=middle - half, high=middle + half, se=se, method="clustered t")


def bounded_mean(
    values: Floats, known: NDArray[np.bool_], clusters: Codes, *, n_total: int, missing: str
) -> Estimate:
    """Estimate the mean of values between 0 and 1.

    As `mean`, but where no two clusters differ, Wilson over the clusters: a few questions that are
    all right prove no more than the share 1 of them.
    """
    found = mean(values, known, clusters, n_total=n_total, missing=missing)
    if found.value is None or found.se:
        return within(found, 0, 1)
    effective = len(set(clusters[known].tolist()))
    low, high = wilson(found.value * effective, effective)
    return replace(found, low=low, high=high, se=None, method="wilson over clusters", reason="")


def within(estimate: Estimate, least: float, most: float) -> Estimate:
    """Cut an interval to what values can be."""
    if estimate.low is None or estimate.high is None:
        return estimate
    return replace(estimate, low=max(least, estimate.low), high=min(most, estimate.high))


def difference(
    left: Floats, right: Floats, clusters: Sequence[object] | Codes, *, n_total: int
) -> Estimate:
    """Estimate the mean of right - left, sample by sample, with a clustered Student's t."""
    import numpy as np

    estimate = mean(
        right - left, np.ones(len(left), bool), codes(clusters), n_total=n_total, missing=NO_PAIR
    )
    return replace(estimate, method="clustered t, paired") if estimate.has_interval else estimate


def flips(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Cells:
    """Count the four transitions."""
    import numpy as np

    cc, ci, ic, ii = (
        int(np.count_nonzero(cell))
        for cell in (before & after, before & ~after, ~before & after, ~before & ~after)
    )
    return Cells(cc, ci, ic, ii)


def gain(
    before: NDArray[np.bool_], after: NDArray[np.bool_], clusters: Codes, *, n_total: int
) -> Estimate:
    """Estimate acc after - acc before on the same samples, of which there must be some.

    Newcombe's paired interval where the samples are independent, else Student's t on clustered
    differences. Where no cluster moves, Newcombe over the clusters.
    """
    n, cells = len(before), flips(before, after)
    up, down = cells.ic, cells.ci
    value = (up - down) / n

    def estimate(
        low: float | None, high: float | None, *, se: float | None, method: str, reason: str = ""
    ) -> Estimate:
        return Estimate(value, low, high, n, n_total, up - down, n, se, method, reason)

    count = int(clusters.max()) + 1
    if count == n:
        se = math.sqrt((up + down) - (up - down) ** 2 / n) / n if n > 1 else None
        low, high = newcombe(cells)
        return estimate(low, high, se=se, method="newcombe paired")
    se = clustered_se(after.astype(float) - before, clusters)
    if not se:
        low, high = newcombe(Cells(*(cell * count / n for cell in (cells.cc, down, up, cells.ii))))
        return estimate(low, high, se=se, method="newcombe paired over clusters")
    half = student_t(count - 1) * se
    return estimate(
        max(-1.0, value - half), min(1.0, value + half), se=se, method="clustered t, paired"
    )


def bootstrapped(base: Estimate, totals: Floats, statistic: Callable[[Floats], Floats]) -> Estimate:
    """Give `base`, a statistic of cluster totals, the interval of its resamples.

    Without an interval stays what has one cluster, or the same value in every resample.
    """
    drawn: Resampled | None = bootstrap(totals, statistic)
    if drawn is None or base.value is None:
        return replace(base, reason=ONE_CLUSTER if len(totals) < 2 else NO_RESAMPLE)
    if drawn.se == 0:
        return replace(base, dropped=drawn.dropped, reason="every resample gives the same value")
    return replace(
        base,
        low=min(drawn.low, base.value),
        high=max(drawn.high, base.value),
        se=drawn.se,
        method="cluster bootstrap",
        dropped=drawn.dropped,
    )
