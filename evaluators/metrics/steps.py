"""What became of answers at every step of a longer loop, counted over samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from evaluators.metrics.efficiency import StepLabel, step_labels
from evaluators.metrics.trajectory import Trajectory

StepCount = StepLabel | Literal["unknown", "stopped"]
"""A label; `unknown` where a wrong answer's change was not recorded, `stopped` where the method had
ended before: its answer is carried on, which is no step."""

STEP_COUNTS: tuple[StepCount, ...] = (*get_args(StepLabel), "unknown", "stopped")


def count_steps(trajectories: Iterable[Trajectory]) -> list[Mapping[StepCount, int]]:
    """Count the labels of every step, first to last; each step's counts add up to the samples."""
    labelled = [step_labels(t) for t in trajectories if t.scored and t.correct]
    steps = max(map(len, labelled), default=0)
    counts: list[dict[StepCount, int]] = [dict.fromkeys(STEP_COUNTS, 0) for _ in range(steps)]
    for labels in labelled:
        for step, found in enumerate(counts):
            if step < len(labels):
                found[labels[step] or "unknown"] += 1
            else:
                found["stopped"] += 1
    return [*counts]
