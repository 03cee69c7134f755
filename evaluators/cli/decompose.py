"""`decompose`: accuracy, transitions, CL, CS and RSS from anyone's transcripts."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from evaluators.metrics import Decomposition, Trajectory


@click.command("decompose")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def decompose(file: Path, *, as_json: bool) -> None:
    """Take a score apart from transcripts that anybody made.

    FILE holds a JSON object per line: {"id": …, "cluster": …, "correct": [true, false, …]};
    "task", "replicate", "parsed", "truncated" and costs may be added. `-` reads standard input.
    """
    from evaluators.formats.transcripts import read_transcripts
    from evaluators.metrics import decompose as take_apart
    from evaluators.metrics import macro

    by_task: dict[str, list[Trajectory]] = defaultdict(list)
    for trajectory in read_transcripts(file):
        by_task[trajectory.task].append(trajectory)
    found: dict[str, Decomposition] = {
        task: take_apart(trajectories) for task, trajectories in by_task.items()
    }
    if as_json:
        tasks = {task: decomposition.to_json() for task, decomposition in found.items()}
        means = {name: estimate.to_json() for name, estimate in macro(found).items()}
        print(json.dumps({"tasks": tasks, "macro": means}, indent=2))
        return
    _print(file, found)


def _print(file: Path, found: Mapping[str, Decomposition]) -> None:
    from rich.console import Console

    from evaluators.cli.render import decomposition_table, flips_line

    console = Console()
    for task, decomposition in found.items():
        console.print(decomposition_table(task or file.name, decomposition))
        console.print(flips_line(decomposition), highlight=False)
        console.print()
