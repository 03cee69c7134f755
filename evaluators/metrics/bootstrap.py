"""The cluster bootstrap: resample whole clusters, recompute, read off the quantiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluators.metrics.estimate import CONFIDENCE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 10_000
"""Enough that another seed would move the ends of an interval by about 1 % of its width."""

_SEED = 20_412_917
_FEW_KINDS = 256
_CELLS_AT_ONCE = 500_000
"""Few enough to stay in the processor's cache, where drawing is twice as fast."""


@dataclass(frozen=True, slots=True)
class Resampled:
    """What the resamples say of a statistic."""

    low: float
    high: float
    se: float
    dropped: float
    """Share of resamples in which the statistic was null."""


def bootstrap(
    totals: NDArray[np.float64],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    *,
    resamples: int = RESAMPLES,
) -> Resampled | None:
    """Return the percentile interval of a statistic of summed cluster totals.

    The seed is fixed and the clusters are put in order first, so equal data in any order give equal
    intervals. Returns None where resampling can say nothing: below two clusters, or when hardly any
    resample has a value.

    Args:
        totals: One row per cluster, one column per quantity that is summed over clusters.
        statistic: From rows of sums to values, NaN where the number is null.
    """
    import numpy as np

    if len(totals) < 2:
        return None
    sums = np.concatenate(list(_sums(totals, resamples)))
    with np.errstate(divide="ignore", invalid="ignore"):
        values = statistic(sums)
    kept = values[np.isfinite(values)]
    if len(kept) < 2:
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(kept, [tail, 1 - tail])
    return Resampled(float(low), float(high), float(kept.std(ddof=1)), 1 - len(kept) / len(values))


def _sums(totals: NDArray[np.float64], resamples: int) -> Iterator[NDArray[np.float64]]:
    """Yield the column sums of resampled clusters, in blocks that fit into memory.

    Clusters with equal totals are interchangeable, so the number of times that each *kind* is
    drawn is multinomial. Graded answers make a handful of kinds however many samples there are;
    token counts make about as many kinds as clusters, and for those drawing indices is faster.
    """
    import numpy as np

    rng = np.random.Generator(np.random.PCG64(_SEED))
    kinds, counts = np.unique(totals, axis=0, return_counts=True)
    size = len(totals)
    if len(kinds) <= _FEW_KINDS:
        yield rng.multinomial(size, counts / size, size=resamples) @ kinds
        return
    rows = np.ascontiguousarray(np.repeat(kinds, counts, axis=0).T)
    block = max(1, _CELLS_AT_ONCE // size)
    for start in range(0, resamples, block):
        shape = min(block, resamples - start), size
        drawn = rng.integers(0, size, size=shape, dtype=np.int32)
        taken = np.empty(shape)  # filled anew for every column
        yield np.stack(
            [np.take(column, drawn, out=taken, mode="clip").sum(axis=1) for column in rows], axis=1
        )
