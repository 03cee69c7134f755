"""Intervals and tests for shares, means and paired differences, each under its own name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from evaluators.metrics.estimate import CONFIDENCE
from evaluators.metrics.special import beta_quantile, binomial_cdf, student_cdf, student_quantile
from evaluators.model import Json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

Z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
"""Normal quantile of a two-sided interval: 1.96."""

_SEED = 20_412_917
_ROUNDING = 1e-12


def wilson(successes: float, n: float) -> tuple[float, float]:
    """Return Wilson's score interval of a share; `n` must not be 0."""
    share = successes / n
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    # Near 0 and 1 rounding may put a bound on the wrong side of the share itself.
    low = 0.0 if successes <= 0 else max(0.0, min(share, centre - half))
    high = 1.0 if successes >= n else min(1.0, max(share, centre + half))
    return low, high


def jeffreys(successes: int, n: int) -> tuple[float, float]:
    """Return the Beta posterior's interval of a share under Jeffreys' prior, closed at 0 and 1."""
    tail = (1 - CONFIDENCE) / 2
    shape = successes + 0.5, n - successes + 0.5
    low = 0.0 if successes == 0 else beta_quantile(*shape, tail)
    high = 1.0 if successes == n else beta_quantile(*shape, 1 - tail)
    return low, high


def sign_flip_p(differences: ArrayLike, *, flips: int = 10_000) -> float:
    """Return the two-sided p of a mean difference against 0, by flipping signs.

    Exact up to 13 differences other than 0; beyond, from seeded random flips, the observed signs
    counted among them. Differences must be independent: one per question or cluster.
    """
    import numpy as np

    moved = np.asarray(differences, dtype=float)
    moved = np.sort(moved[moved != 0])
    if not len(moved):
        return 1.0
    if 2 ** len(moved) <= flips:
        signs = 1 - 2.0 * (np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved)) & 1)
        sums = np.abs(signs @ moved)
    else:
        rng = np.random.Generator(np.random.PCG64(_SEED))
        drawn = np.array([rng.choice((-1.0, 1.0), len(moved)) @ moved for _ in range(flips)])
        sums = np.append(np.abs(drawn), abs(moved.sum()))
    return float(np.mean(sums >= abs(moved.sum()) * (1 - 1e-12)))


def clustered_se(
    values: ArrayLike, clusters: Sequence[object] | NDArray[np.intp], *, correct: bool = True
) -> float | None:
    """Return the standard error of a mean whose samples come in clusters; None below two clusters.

    Args:
        correct: Multiply the variance by C/(C-1), which with one sample per cluster gives the
            ordinary standard error with n-1. Without it this is Miller's formula (2411.00640).
    """
    import numpy as np

    from evaluators.metrics.trajectory import codes

    array = np.asarray(values, dtype=float)
    sums = np.bincount(codes(clusters), weights=array - array.mean())
    # What rounding leaves of clusters that are all alike is no spread.
    sums[np.abs(sums) <= _ROUNDING * np.abs(array).sum()] = 0.0
    count = len(sums)
    if count < 2:
        return None
    factor = count / (count - 1) if correct else 1.0
    return float(math.sqrt(factor * float(sums @ sums)) / len(array))


def student_t(degrees: int) -> float:
    """Return Student's quantile for a two-sided 95 % interval."""
    return student_quantile(degrees, 0.5 + CONFIDENCE / 2)


def student_p(mean: float, se: float, degrees: int) -> float:
    """Return the two-sided p of a mean against 0; without spread that of flipping signs.

    However alike a few clusters are, 2 of them could all have moved one way by chance.
    """
    if se == 0:
        return 1.0 if mean == 0 else 0.5**degrees
    return 2 * student_cdf(degrees, -abs(mean / se))


def square_and_add(
    left: tuple[float, float, float], right: tuple[float, float, float], *, correlation: float = 0.0
) -> tuple[float, float]:
    """Return the interval of left - right from two (value, low, high), after Newcombe.

    Unlike a normal interval it is never of width 0 when a share is 0 or 1, because Wilson's is not.
    """
    (a, a_low, a_high), (b, b_low, b_high) = left, right

    def reach(x: float, y: float) -> float:
        return math.sqrt(max(0.0, x * x - 2 * correlation * x * y + y * y))

    return a - b - reach(a - a_low, b_high - b), a - b + reach(a_high - a, b - b_low)


@dataclass(frozen=True, slots=True)
class Cells:
    """Transition counts between two answer states."""

    cc: float
    """Right, then right."""
    ci: float
    """Right, then wrong."""
    ic: float
    """Wrong, then right."""
    ii: float
    """Wrong, then wrong."""

    @property
    def n(self) -> float:
        """All trajectories."""
        return self.cc + self.ci + self.ic + self.ii

    def to_json(self) -> dict[str, Json]:
        """Return the four counts by name."""
        return asdict(self)


def newcombe(cells: Cells) -> tuple[float, float]:
    """Return Newcombe's paired interval (1998, method 10) for acc after - acc before."""
    n, before, after = cells.n, cells.cc + cells.ci, cells.cc + cells.ic
    cross = cells.cc * cells.ii - cells.ci * cells.ic
    if cross > 0:
        cross = max(0.0, cross - n / 2)
    scale = math.sqrt(before * (n - before) * after * (n - after))
    low, high = square_and_add(
        (after / n, *wilson(after, n)),
        (before / n, *wilson(before, n)),
        correlation=cross / scale if scale else 0.0,
    )
    return max(-1.0, low), min(1.0, high)


@dataclass(frozen=True, slots=True)
class McNemar:
    """McNemar's test of right-to-wrong against wrong-to-right."""

    b: int
    """Right to wrong."""
    c: int
    """Wrong to right."""
    statistic: float | None
    """Chi square with continuity correction; None when nothing flipped."""
    p_chi2: float
    p_exact: float
    """Two-sided, from the binomial; the one to quote."""

    def to_json(self) -> dict[str, Json]:
        """Return the fields by name."""
        return asdict(self)


def mcnemar(b: int, c: int) -> McNemar:
    """Test whether as many answers were spoilt (b) as mended (c)."""
    flips = b + c
    if not flips:
        return McNemar(b, c, None, 1.0, 1.0)
    statistic = (abs(b - c) - 1) ** 2 / flips
    exact = min(1.0, 2 * binomial_cdf(min(b, c), flips, 0.5))
    return McNemar(b, c, statistic, math.erfc(math.sqrt(statistic / 2)), exact)
