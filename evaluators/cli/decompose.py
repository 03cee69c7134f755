"""`decompose`: accuracy, transitions, CL, CS and RSS from anyone's transcripts or results."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evaluators.cli.asked import METRICS, metrics_named, metrics_of

if TYPE_CHECKING:
    from evaluators.metrics import Decomposition, Metric, Trajectory
    from evaluators.metrics.steps import StepCount

RESULTS = frozenset({".json", ".eval"})
"""Endings of files that hold whole results instead of a line per sample."""


@click.command("decompose")
@click.argument("path", type=click.Path(path_type=Path, allow_dash=True))
@METRICS
@click.option("--inspect-python", help="A Python that has inspect-ai, to read .eval logs with.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def decompose(
    path: Path, *, metrics: tuple[str, ...], inspect_python: str | None, as_json: bool
) -> None:
    """Take a score apart from transcripts that anybody made.

    PATH holds a JSON object per line: {"id": …, "cluster": …, "correct": [true, false, …]};
    "task", "replicate", "parsed", "truncated", "changed", "verdicts", costs and more may be added.
    `-` reads standard input. A folder or results of `run --out`, lm-eval, Inspect or Every Eval
    Ever will do as well.
    """
    besides = metrics_named(metrics)
    if path.is_dir() or path.suffix in RESULTS:
        found = _of_runs(path, inspect_python, besides)
        if as_json:
            runs = [{"run": label, **_json(by_task)} for label, by_task in found]
            print(json.dumps({"runs": runs}, indent=2))
            return
        for label, by_task in found:
            _print(label, by_task)
        return
    by_task = _of_lines(path, besides)
    if as_json:
        print(json.dumps(_json(by_task), indent=2))
        return
    _print(path.name, by_task)


@dataclass(frozen=True, slots=True)
class Apart:
    """One task's results, taken apart."""

    found: Decomposition
    steps: Sequence[Mapping[StepCount, int]]
    """What became of answers at every step."""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON, as `run --json` has it."""
        return {**self.found.to_json(), "step_labels": [dict(step) for step in self.steps]}


def _apart(trajectories: Iterable[Trajectory], besides: Iterable[Metric]) -> Apart:
    from evaluators.metrics import Graded, count_steps
    from evaluators.metrics import decompose as take_apart

    graded = Graded(trajectories)
    return Apart(take_apart(graded, metrics=besides), count_steps(graded))


def _of_lines(path: Path, besides: Sequence[Metric]) -> dict[str, Apart]:
    from evaluators.formats.transcripts import read_transcripts

    by_task: dict[str, list[Trajectory]] = defaultdict(list)
    for trajectory in read_transcripts(path):
        by_task[trajectory.task].append(trajectory)
    return {task: _apart(trajectories, besides) for task, trajectories in by_task.items()}


def _of_runs(
    path: Path, inspect_python: str | None, besides: Sequence[Metric]
) -> list[tuple[str, dict[str, Apart]]]:
    from evaluators.formats.reading import read_runs

    runs = read_runs(path, inspect_python=inspect_python)
    return [
        (
            run.label,
            {
                task: _apart(run.trajectories(task), [*metrics_of(run.run.evaluator), *besides])
                for task in run.results
            },
        )
        for run in runs
    ]


def _json(taken: Mapping[str, Apart]) -> dict[str, Any]:
    from evaluators.metrics import macro

    tasks = {task: apart.to_json() for task, apart in taken.items()}
    means = macro({task: apart.found for task, apart in taken.items()})
    return {"tasks": tasks, "macro": {name: e.to_json() for name, e in means.items()}}


def _print(name: str, taken: Mapping[str, Apart]) -> None:
    from rich.console import Console

    from evaluators.cli.render import decomposition_table, flips_line, steps_table

    console = Console()
    for task, apart in taken.items():
        title = f"{name} on {task}" if task else name
        console.print(decomposition_table(title, apart.found))
        console.print(flips_line(apart.found), highlight=False)
        if len(apart.steps) > 1:
            console.print(steps_table(apart.steps), highlight=False)
        console.print()
