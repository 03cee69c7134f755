"""How long 10,000 resamples of 10,000 samples take, against a loop over resamples.

Two statistics: CL of graded answers, and gain per token, whose totals are all different. The loop
does the same with `random.choices` and sums; it makes a hundredth of the resamples, and its time is
taken a hundred times. Both must come to the same standard error, within what so few resamples know.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator

import harness
import numpy as np
from harness import Goal, Run
from numpy.typing import NDArray

from evaluators.metrics import Trajectory, decompose
from evaluators.metrics.bootstrap import bootstrap

Floats = NDArray[np.float64]

FRACTION = 100
"""The loop makes one resample for so many of ours."""

WITHIN = 0.35
"""Share by which two standard errors may differ: 100 resamples know one to about 7 %."""


def data(size: int) -> dict[str, Floats]:
    """Return rows of (above the line, below it) for both statistics."""
    rng = np.random.default_rng(0)
    first, last = rng.random((2, size)) < [[0.6], [0.65]]
    extra = rng.normal(300, 90, size)
    return {
        "graded answers": np.stack([first & last, first], axis=1).astype(float),
        "token counts": np.stack([last.astype(float) - first, extra], axis=1),
    }


def vectorised(totals: Floats, resamples: int) -> Run:
    """Resample as the library does."""
    start = time.perf_counter()
    found = bootstrap(totals, lambda sums: sums[:, 0] / sums[:, 1], resamples=resamples)
    work = time.perf_counter() - start
    if found is None:
        sys.exit("nothing could be resampled")
    return Run(work, outcome={"resampled": True}, figures={"se": found.se})


def loop(totals: Floats, resamples: int) -> Run:
    """Resample one after the other, in plain Python."""
    rows, draw = [tuple(row) for row in totals.tolist()], random.Random(0)
    few = max(2, resamples // FRACTION)
    start = time.perf_counter()
    values = list(_resampled(rows, draw, few))
    work = (time.perf_counter() - start) * resamples / few
    return Run(work, outcome={"resampled": True}, figures={"se": float(np.std(values, ddof=1))})


def _resampled(rows: list[tuple[float, ...]], draw: random.Random, times: int) -> Iterator[float]:
    for _ in range(times):
        drawn = draw.choices(rows, k=len(rows))
        yield sum(row[0] for row in drawn) / sum(row[1] for row in drawn)


def compare(totals: Floats, resamples: int, pairs: int) -> list[tuple[Run, Run]]:
    """Run both sides in pairs; end the benchmark where their standard errors differ."""
    found = harness.alternate(
        lambda: vectorised(totals, resamples), lambda: loop(totals, resamples), pairs
    )
    for ours, theirs in found:
        if abs(ours.figures["se"] / theirs.figures["se"] - 1) > WITHIN:
            sys.exit(f"standard errors differ: {ours.figures} and {theirs.figures}")
    return found


def whole(size: int) -> float:
    """Return the seconds that a whole decomposition of so many samples takes."""
    first, last = np.random.default_rng(0).random((2, size)) < [[0.6], [0.65]]
    found = [
        Trajectory(
            str(i),
            (bool(a), bool(b)),
            parsed=(True, True),
            truncated=(False, False),
            changed=(False, bool(a != b)),
            calls=2,
            tokens_in=500,
            tokens_out=100 + i % 977,
            tokens_computed=100 + i % 977,
            tokens_first=40,
        )
        for i, (a, b) in enumerate(zip(first, last, strict=True))
    ]
    decompose(found[:10])  # scipy is imported on first use
    start = time.perf_counter()
    decompose(found)
    return time.perf_counter() - start


def faster(pairs: list[tuple[Run, Run]]) -> list[float]:
    """Return how many times longer the loop takes."""
    return [1 / ratio for ratio in harness.ratios(pairs, harness.work)]


def main() -> None:
    """Run both statistics and a whole decomposition."""
    given = harness.options(__doc__, samples=10_000, resamples=10_000)
    if given.quick:
        given.samples, given.resamples = 1_000, 1_000
    measured = {
        name: compare(totals, given.resamples, given.pairs)
        for name, totals in data(given.samples).items()
    }
    seconds = whole(given.samples)
    harness.report(
        f"{given.resamples} resamples of {given.samples} samples",
        sides={
            f"{name}, {side}": [pair[k] for pair in pairs]
            for name, pairs in measured.items()
            for k, side in enumerate(("vectorised", "loop, scaled up"))
        },
        goals=[
            goal
            for name, pairs in measured.items()
            for goal in (
                Goal(f"{name}: seconds", [ours.work for ours, _ in pairs], 2.0),
                Goal(f"{name}: times faster than the loop", faster(pairs), 10, "at least"),
            )
        ],
        given=given,
        notes=[f"  a whole decomposition takes {seconds:.2f} s"],
    )


if __name__ == "__main__":
    main()
