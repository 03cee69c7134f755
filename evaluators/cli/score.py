"""`score`: grades stored answers again, without the model, and says what changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evaluators.cli.data import data_dir_option
from evaluators.errors import BadFile

if TYPE_CHECKING:
    from evaluators.formats.regrade import Change, Regraded
    from evaluators.formats.stored import StoredRun
    from evaluators.metrics import Decomposition
    from evaluators.ports import TaskInfo

FIGURES = ("acc@1", "acc@last", "CL", "CS", "RSS")
"""Shown before and after."""

SHOWN = 20
"""Changed answers printed per task; `--json` has them all."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One run, graded again."""

    stored: StoredRun
    tasks: Mapping[str, Regraded]
    infos: Mapping[str, TaskInfo]
    """What the tasks say of themselves now."""

    def other_tasks(self) -> list[str]:
        """Return the tasks that are not the ones that were evaluated."""
        return [
            name
            for name, info in self.infos.items()
            if self.stored.tasks[name].digest and info.digest != self.stored.tasks[name].digest
        ]

    def updated(self) -> StoredRun:
        """Return the run with the new grades."""
        results = {name: found.results for name, found in self.tasks.items()}
        return replace(self.stored, results=results, tasks=dict(self.infos))


@click.command("score")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--write", is_flag=True, help="Store the new grades in place of the old.")
@click.option("--force", is_flag=True, help="Store them even if a task is not the same any more.")
@click.option(
    "--include-path", "paths", multiple=True, type=click.Path(path_type=Path, exists=True)
)
@data_dir_option
@click.option("--inspect-python", help="A Python that has inspect-ai, to read .eval logs with.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def score(
    path: Path,
    paths: tuple[Path, ...],
    *,
    write: bool,
    force: bool,
    inspect_python: str | None,
    as_json: bool,
) -> None:
    """Grade the answers in PATH again and print what changed.

    PATH is a folder that `run --out` wrote, results of lm-eval, or an Inspect log. The model is not
    needed. Tasks are opened as they were for the run; one that changed since is named.
    """
    from evaluators.formats.reading import read_runs

    runs = read_runs(path, inspect_python=inspect_python)
    if write:
        _check_own(runs)
    folders = [[*paths, *_folders(run)] for run in runs]
    scored = asyncio.run(_score(runs, folders))
    if as_json:
        print(json.dumps({"runs": [_json(one) for one in scored]}, indent=2))
    else:
        for one in scored:
            _print(one)
    if write:
        _check_same(scored, force=force)
        for file in chain.from_iterable(_write(one) for one in scored):
            click.echo(f"wrote {file}", err=True)


def _check_own(runs: list[StoredRun]) -> None:
    for run in runs:
        if not run.source.is_dir():
            reason = "--write changes folders of ours only; `import` makes one of it"
            raise BadFile(path=str(run.source), line=None, reason=reason)


def _check_same(scored: list[Scored], *, force: bool) -> None:
    """Refuse to store grades of another task, before anything is stored."""
    for one in scored:
        others = one.other_tasks()
        if others and not force:
            reason = f"{', '.join(others)} changed since the run; --force stores its grades"
            raise BadFile(path=str(one.stored.source), line=None, reason=reason)


def _folders(run: StoredRun) -> list[Path]:
    """Return the run's folders of tasks that are still there."""
    return [folder for folder in map(Path, run.include_paths) if folder.is_dir()]


async def _score(runs: list[StoredRun], folders: list[list[Path]]) -> list[Scored]:
    return [await _score_run(run, paths) for run, paths in zip(runs, folders, strict=True)]


async def _score_run(run: StoredRun, folders: list[Path]) -> Scored:
    from evaluators.formats.regrade import regrade
    from evaluators.tasks import TaskSpec, open_tasks

    specs = [run.specs.get(name) or TaskSpec.parse(name) for name in run.results]
    async with open_tasks(specs, include_paths=folders) as tasks:
        missing = [name for name in run.results if name not in tasks]
        if missing:
            reason = f"its tasks open under other names: {', '.join(tasks)}"
            raise BadFile(path=str(run.source), line=None, reason=reason)
        graded = {name: await regrade(run.results[name], tasks[name]) for name in run.results}
        return Scored(run, graded, {name: tasks[name].info for name in run.results})


def _write(one: Scored) -> Iterator[Path]:
    from evaluators.formats.folder import write_folder
    from evaluators.formats.lm_eval_files import write_lm_eval

    if not any(found.changes for found in one.tasks.values()) and not one.other_tasks():
        return
    run = one.updated()
    results = chain.from_iterable(run.results.values())
    if list(run.source.glob("*/results_*.json")):
        yield from write_lm_eval(run.source, results, tasks=run.tasks, run=run.run)
    yield from write_folder(run.source, run)


def _figures(one: Scored, task: str) -> tuple[Decomposition, Decomposition]:
    from evaluators.metrics import decompose

    before, after = one.stored.trajectories(task), one.updated().trajectories(task)
    return decompose(before), decompose(after)


def _json(one: Scored) -> dict[str, Any]:
    return {
        "source": str(one.stored.source),
        "run": one.stored.label,
        "tasks": {task: _task_json(one, task) for task in one.tasks},
    }


def _task_json(one: Scored, task: str) -> dict[str, Any]:
    found, (before, after) = one.tasks[task], _figures(one, task)
    stored, now = one.stored.tasks[task].digest, one.infos[task].digest
    return {
        "digest": {"stored": stored, "now": now, "same": stored == now},
        "samples": len(found.results),
        "answers": sum(len(result.answers) for result in found.results),
        "changed_answers": len(found.changes),
        "changed_samples": found.changed_samples,
        "flipped_answers": sum(change.flipped for change in found.changes),
        "other_prompts": found.reworded,
        "failures": [{"sample": name, "reason": reason} for name, reason in found.failures],
        "changes": [_change_json(change) for change in found.changes],
        "before": {name: before[name].to_json() for name in FIGURES},
        "after": {name: after[name].to_json() for name in FIGURES},
    }


def _change_json(change: Change) -> dict[str, Any]:
    sides = {
        name: {"correct": grade.correct, "score": grade.score, "extracted": grade.extracted}
        for name, grade in (("before", change.before), ("after", change.after))
    }
    place = {"sample": change.sample, "replicate": change.replicate, "answer": change.answer}
    return place | sides


def _print(one: Scored) -> None:
    from rich.console import Console
    from rich.markup import escape

    from evaluators.cli.render import before_and_after

    console = Console(highlight=False, soft_wrap=True)
    for task, found in one.tasks.items():
        console.print(
            before_and_after(f"{one.stored.label} on {task}", *_figures(one, task), FIGURES)
        )
        answers = sum(len(result.answers) for result in found.results)
        flipped = sum(change.flipped for change in found.changes)
        console.print(
            f"{len(found.changes)} of {answers} answers in {found.changed_samples} of "
            f"{len(found.results)} samples are judged otherwise; {flipped} flipped."
        )
        for line in _notes(one, task):
            console.print(escape(line), style="yellow")
        for change in found.changes[:SHOWN]:
            console.print(escape(_line(change)))
        if len(found.changes) > SHOWN:
            console.print(f"… and {len(found.changes) - SHOWN} more (--json has them all)")
        console.print()


def _notes(one: Scored, task: str) -> Iterator[str]:
    found, stored, now = one.tasks[task], one.stored.tasks[task].digest, one.infos[task].digest
    if not stored:
        yield "The results do not say which version of the task they were made with."
    elif stored != now:
        yield (
            f"The task is not the one that was evaluated: its digest was {stored[:12]}, "
            f"now it is {now[:12]}."
        )
    if found.reworded:
        yield f"{found.reworded} of {len(found.results)} prompts would read otherwise now."
    if found.failures:
        name, reason = found.failures[0]
        yield f"{len(found.failures)} samples could not be graded, the first is {name}: {reason}"


def _line(change: Change) -> str:
    words = {True: "right", False: "wrong"}
    replicate = f" replicate {change.replicate}" if change.replicate else ""
    return (
        f"  sample {change.sample}{replicate} answer {change.answer}: "
        f"{words[change.before.correct]} → {words[change.after.correct]}, "
        f"score {change.before.score:g} → {change.after.score:g}, "
        f"{_short(change.before.extracted)} → {_short(change.after.extracted)}"
    )


def _short(text: str | None) -> str:
    return "nothing" if text is None else repr(text if len(text) <= 40 else f"{text[:40]}…")
