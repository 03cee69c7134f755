"""Print how long the cluster bootstrap takes; run it as a script."""

from __future__ import annotations

import sys
import time

import numpy as np

from evaluators.metrics import Trajectory, decompose
from evaluators.metrics.bootstrap import bootstrap

SIZE = 10_000


def main() -> None:
    """Time 10,000 resamples of 10,000 samples, and a whole decomposition of as many."""
    rng = np.random.default_rng(0)
    cells = np.eye(4)[rng.integers(0, 4, SIZE)]
    tokens = np.stack([rng.normal(300, 90, SIZE), np.ones(SIZE)], axis=1)
    for name, totals in {"graded answers": cells, "token counts": tokens}.items():
        start = time.perf_counter()
        bootstrap(totals, lambda sums: sums[:, 0] / sums[:, 1], resamples=SIZE)
        report(f"bootstrap of {name}", start)
    found = [trajectory(i, *pair) for i, pair in enumerate(rng.random((SIZE, 2)) < (0.6, 0.65))]
    decompose(found[:10])  # scipy is imported on first use
    start = time.perf_counter()
    decompose(found)
    report("decompose", start)


def trajectory(index: int, first: bool, last: bool) -> Trajectory:
    """Return a sample with every cost recorded."""
    spent = 100 + index % 977
    return Trajectory(
        str(index),
        (bool(first), bool(last)),
        parsed=(True, True),
        truncated=(False, False),
        changed=(False, bool(first != last)),
        calls=2,
        tokens_in=500,
        tokens_out=spent,
        tokens_computed=spent,
        tokens_first=40,
    )


def report(what: str, start: float) -> None:
    """Print one line."""
    sys.stdout.write(f"{what:32} {time.perf_counter() - start:6.2f} s\n")


if __name__ == "__main__":
    main()
