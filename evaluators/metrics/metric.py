"""What a metric is, and how installed ones are found by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from evaluators.metrics.estimate import Estimate
from evaluators.metrics.trajectory import Trajectory

Direction = Literal["higher", "lower", "none"]
"""Which way is better; `none` where neither is."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A pure function over graded trajectories, with what a table header needs to explain it."""

    name: str
    """Stable key, such as `CL` or `acc@1`."""
    title: str
    """Column header."""
    definition: str
    """One sentence with the formula."""
    direction: Direction
    unit: Literal["fraction", "difference", "count", "ratio", "calls", "tokens"]
    group: str
    """`decomposition`, `cost` or `quality`; a plugin may name its own."""
    compute: Callable[[Sequence[Trajectory]], Estimate]
