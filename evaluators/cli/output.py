"""Writes what an evaluation came to: lm-eval's own files and full transcripts, per evaluator."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from evaluators.formats.folder import write_folder
from evaluators.formats.lm_eval_files import write_lm_eval
from evaluators.formats.stored import RunInfo, StoredRun
from evaluators.registry import installed

if TYPE_CHECKING:
    from evaluators.controls import HeldAgainst
    from evaluators.model import Json, ModelRole
    from evaluators.runtimes import ModelInfo, ModelSpec
    from evaluators.session import Method, Plan, Report
    from evaluators.tasks.spec import TaskSpec

CONTROLS = "controls"
"""The folder of the runs that methods are held against, beside the methods' own."""

COMMIT = re.compile(r"[0-9a-f]{40}")
"""What pins a repository to one state."""


def write_report(out: Path, plan: Plan, report: Report, *, started: datetime) -> Iterator[Path]:
    """Write a folder per evaluator and yield the paths as they are written.

    Args:
        out: Folder that the evaluators' folders are made in; controls have one of their own.
        plan: What was asked for.
        report: What it came to.
        started: When the evaluation began; lm-eval's files are named after it.
    """
    for stored in stored_runs(out, plan, report, started=started):
        results = chain.from_iterable(stored.results.values())
        yield from write_lm_eval(stored.source, results, tasks=stored.tasks, run=stored.run)
        yield from write_folder(stored.source, stored)


def stored_runs(out: Path, plan: Plan, report: Report, *, started: datetime) -> Iterator[StoredRun]:
    """Yield a run per evaluator, each with the folder that it is to be written to."""
    versions = {entry.name: entry.version for entry in installed("evaluator")}
    specs = {name: spec for spec in plan.tasks for name in report.tasks if _opens(spec, name)}
    for method in (*plan.methods, *report.control_methods):
        results = {
            task: found for (run, task), found in report.results.items() if run == method.name
        }
        yield StoredRun(
            source=out / folder_of(method.name, report),
            origin="redraft",
            run=_run_info(
                plan, report, method, version=versions[method.evaluator.name], started=started
            ),
            tasks={task: report.tasks[task] for task in results},
            results=results,
            specs={task: spec for task, spec in specs.items() if task in results},
            include_paths=tuple(str(path.resolve()) for path in plan.include_paths),
            controls=_controls(report, method.name),
        )


def folder_of(run: str, report: Report) -> Path:
    """Return the folder of a run, as seen from that of the whole evaluation."""
    is_control = any(method.name == run for method in report.control_methods)
    return Path(CONTROLS, run) if is_control else Path(run)


def _controls(report: Report, method: str) -> dict[str, tuple[HeldAgainst, ...]]:
    """Return what a method is held against, with the folders as seen from its own."""

    def located(held: HeldAgainst) -> HeldAgainst:
        folder = ".." / folder_of(held.run, report) if held.run else None
        return replace(held, run=folder.as_posix() if folder else "")

    return {
        task: tuple(map(located, held))
        for (name, task), held in report.controls.items()
        if name == method
    }


def _opens(spec: TaskSpec, task: str) -> bool:
    """Tell whether a task was opened by that name: multiple choice adds its mode."""
    return task in {spec.key, spec.name} or (spec.mode is None and task.startswith(f"{spec.name}:"))


def _run_info(
    plan: Plan, report: Report, method: Method, *, version: str, started: datetime
) -> RunInfo:
    limits = set(plan.task_limits.values())
    return RunInfo(
        model=report.model.label,
        model_source=plan.model.model,
        evaluator=method.evaluator.name,
        evaluator_version=version,
        started=started,
        model_args=plan.model.args,
        params=method.params,
        model_sha=_commit(plan.model),
        model_dtype=report.model.dtype or "",
        fingerprint=report.fingerprint,
        batch_size=plan.model.batch_size,
        limit=limits.pop() if len(limits) == 1 else None,
        seed=plan.seed,
        seconds=(datetime.now().astimezone() - started).total_seconds(),
        identity=report.model.identity,
        roles={role: _role(plan, role, model) for role, model in report.roles.items()},
        packages=report.model.versions,
        control=method.control,
        prompt_pack=plan.pack.to_json() if plan.pack else {},
    )


def _commit(spec: ModelSpec) -> str:
    """Return the commit that the model is pinned to, if it is."""
    revision = str(spec.args.get("revision", ""))
    return revision if COMMIT.fullmatch(revision) else ""


def _role(plan: Plan, role: ModelRole, model: ModelInfo) -> dict[str, Json]:
    """Return what is kept of the model that played another role."""
    spec = plan.roles[role]
    return {
        "model": model.label,
        "model_source": spec.model,
        "model_args": dict(spec.args),
        "model_sha": _commit(spec),
        "dtype": model.dtype,
        "identity": dict(model.identity),
    }
