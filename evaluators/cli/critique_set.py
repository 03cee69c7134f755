"""`critique-set`: makes tasks of critique from stored results."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evaluators.cli.data import data_dir_option

if TYPE_CHECKING:
    from evaluators.formats.critique_set_files import BuiltSet


@click.command("critique-set")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="A new folder."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Decides among equals.")
@click.option(
    "--min-samples",
    type=click.IntRange(min=2),
    default=4,
    show_default=True,
    help="Answers of a model to a question, below which the question is left out.",
)
@click.option(
    "--max-certainty",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Most that ln(f1/f2) may be, with f1 and f2 how often the two commonest answers came.",
)
@click.option(
    "--pairs", type=click.IntRange(min=1), help="Pairs per task and model, least certain first."
)
@click.option(
    "--include-path", "folders", multiple=True, type=click.Path(path_type=Path, exists=True)
)
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print the manifest.")
def critique_set(
    paths: tuple[Path, ...], out: Path, *, folders: tuple[Path, ...], as_json: bool, **options: Any
) -> None:
    """Choose right and convincingly wrong solutions from the results in PATHS.

    PATHS are folders that `run --out` wrote, of any tasks and models; self_consistency, or
    --replicates with a temperature, gives the several answers that are needed. Written are a task
    for every one that was solved, and a suite of them: `run … --suite OUT/critique_set.toml
    --include-path OUT`.
    """
    from evaluators.formats.critique_set import Settings
    from evaluators.formats.critique_set_files import build_set
    from evaluators.formats.reading import read_runs

    runs = [run for path in paths for run in read_runs(path)]
    built = asyncio.run(build_set(runs, out, Settings(**options), include_paths=folders))
    if as_json:
        print(json.dumps(built.manifest, indent=2))
        return
    _print(built)


def _print(built: BuiltSet) -> None:
    tasks: Any = built.manifest["tasks"]
    for task, counts in tasks.items():
        name = built.tasks.get(task)
        told = f"{counts['pairs']} pairs from {counts['questions']} questions"
        print(f"{task} -> {name or 'no task'}: {told}, {counts['candidates']} solutions")
        _print_drops("questions left out", counts["dropped_questions"])
        _print_drops("texts left out", counts["dropped_candidates"])
    print(f"wrote {built.folder}")


def _print_drops(what: str, counts: Mapping[str, int]) -> None:
    if counts:
        listed = "; ".join(f"{count} {reason}" for reason, count in counts.items())
        print(f"  {what}: {listed}")
