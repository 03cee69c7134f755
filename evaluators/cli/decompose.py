"""`decompose`: accuracy, transitions, CL, CS and RSS from anyone's transcripts or results."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from evaluators.metrics import Decomposition, Trajectory

RESULTS = frozenset({".json", ".eval"})
"""Endings of files that hold whole results instead of a line per sample."""


@click.command("decompose")
@click.argument("path", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--inspect-python", help="A Python that has inspect-ai, to read .eval logs with.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def decompose(path: Path, *, inspect_python: str | None, as_json: bool) -> None:
    """Take a score apart from transcripts that anybody made.

    PATH holds a JSON object per line: {"id": …, "cluster": …, "correct": [true, false, …]};
    "task", "replicate", "parsed", "truncated" and costs may be added. `-` reads standard input.
    A folder or results of `run --out`, lm-eval, Inspect or Every Eval Ever will do as well.
    """
    if path.is_dir() or path.suffix in RESULTS:
        found = _of_runs(path, inspect_python)
        if as_json:
            runs = [{"run": label, **_json(by_task)} for label, by_task in found]
            print(json.dumps({"runs": runs}, indent=2))
            return
        for label, by_task in found:
            _print(label, by_task)
        return
    by_task = _of_lines(path)
    if as_json:
        print(json.dumps(_json(by_task), indent=2))
        return
    _print(path.name, by_task)


def _of_lines(path: Path) -> dict[str, Decomposition]:
    from evaluators.formats.transcripts import read_transcripts
    from evaluators.metrics import decompose as take_apart

    by_task: dict[str, list[Trajectory]] = defaultdict(list)
    for trajectory in read_transcripts(path):
        by_task[trajectory.task].append(trajectory)
    return {task: take_apart(trajectories) for task, trajectories in by_task.items()}


def _of_runs(path: Path, inspect_python: str | None) -> list[tuple[str, dict[str, Decomposition]]]:
    from evaluators.formats.reading import read_runs
    from evaluators.metrics import decompose as take_apart

    return [
        (run.label, {task: take_apart(run.trajectories(task)) for task in run.results})
        for run in read_runs(path, inspect_python=inspect_python)
    ]


def _json(found: Mapping[str, Decomposition]) -> dict[str, Any]:
    from evaluators.metrics import macro

    tasks = {task: decomposition.to_json() for task, decomposition in found.items()}
    means = {name: estimate.to_json() for name, estimate in macro(found).items()}
    return {"tasks": tasks, "macro": means}


def _print(name: str, found: Mapping[str, Decomposition]) -> None:
    from rich.console import Console

    from evaluators.cli.render import decomposition_table, flips_line

    console = Console()
    for task, decomposition in found.items():
        title = f"{name} on {task}" if task else name
        console.print(decomposition_table(title, decomposition))
        console.print(flips_line(decomposition), highlight=False)
        console.print()
