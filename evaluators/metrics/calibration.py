"""How far confidence agrees with correctness: ECE, Brier, AUROC, AURC."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, pairwise

BINS = 10

Pairs = list[tuple[float, bool]]


def expected_calibration_error(
    confidence: Sequence[float],
    right: Sequence[bool],
    *,
    bins: int = BINS,
    equal_mass: bool = False,
) -> float | None:
    """Return the mean gap between confidence and accuracy over bins; None without samples.

    Args:
        confidence: Between 0 and 1.
        right: Whether each answer is right.
        bins: Of equal width and closed on the right, 0 in the first.
        equal_mass: Bins of equally many samples instead.
    """
    pairs = _pairs(confidence, right)
    if not pairs:
        return None
    groups = _equal_mass(pairs, bins) if equal_mass else _equal_width(pairs, bins)
    gaps = (abs(math.fsum(c - y for c, y in group)) for group in groups)
    return math.fsum(gaps) / len(pairs)


def _equal_width(pairs: Pairs, bins: int) -> list[Pairs]:
    # Rounded, because 0.3 * 10 is 3.0000000000000004 for some writings of 0.3.
    def index(pair: tuple[float, bool]) -> int:
        return max(1, math.ceil(round(pair[0] * bins, 9)))

    return [list(group) for _, group in groupby(sorted(pairs, key=index), key=index)]


def _equal_mass(pairs: Pairs, bins: int) -> list[Pairs]:
    ordered = sorted(pairs)
    edges = [round(i * len(ordered) / bins) for i in range(bins + 1)]
    return [ordered[a:b] for a, b in pairwise(edges) if a < b]


def brier(confidence: Sequence[float], right: Sequence[bool]) -> float | None:
    """Return the mean squared gap; None without samples."""
    pairs = _pairs(confidence, right)
    return math.fsum((c - y) ** 2 for c, y in pairs) / len(pairs) if pairs else None


def auroc(score: Sequence[float], right: Sequence[bool]) -> float | None:
    """Return the chance that a right answer scores above a wrong one, half for ties.

    None where all answers are right or all are wrong. Scores may have any scale.
    """
    pairs = sorted(zip(score, right, strict=True))
    hits = sum(y for _, y in pairs)
    misses = len(pairs) - hits
    if not hits or not misses:
        return None
    below, wins = 0, 0.0
    for _, group in groupby(pairs, key=lambda pair: pair[0]):
        tied = [y for _, y in group]
        up, down = sum(tied), len(tied) - sum(tied)
        wins += up * (below + down / 2)
        below += down
    return wins / (hits * misses)


def aurc(score: Sequence[float], right: Sequence[bool]) -> float | None:
    """Return the mean error over all coverages, most confident first; None without samples.

    Samples of one score stand in every order equally often.
    """
    pairs = sorted(zip(score, right, strict=True), key=lambda pair: -pair[0])
    errors: list[float] = []
    for _, group in groupby(pairs, key=lambda pair: pair[0]):
        tied = [not y for _, y in group]
        errors += [sum(tied) / len(tied)] * len(tied)
    return _mean_of_running_means(errors) if errors else None


def _mean_of_running_means(values: Sequence[float]) -> float:
    total, means = 0.0, []
    for count, value in enumerate(values, start=1):
        total += value
        means.append(total / count)
    return math.fsum(means) / len(means)


def _pairs(confidence: Sequence[float], right: Sequence[bool]) -> Pairs:
    pairs = list(zip(confidence, right, strict=True))
    outside = [c for c, _ in pairs if not 0 <= c <= 1]
    if outside:
        msg = f"confidence {outside[0]} is not between 0 and 1"
        raise ValueError(msg)
    return pairs
