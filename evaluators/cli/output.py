"""Writes what an evaluation came to: lm-eval's own files and full transcripts, per evaluator."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from evaluators.formats.lm_eval_files import RunInfo, write_lm_eval
from evaluators.formats.results import write_results
from evaluators.registry import installed

if TYPE_CHECKING:
    from evaluators.session import Method, Plan, Report

TRANSCRIPTS = "transcripts_{task}.jsonl"
"""Full results of one task, one line per sample, beside lm-eval's files."""


def write_report(out: Path, plan: Plan, report: Report, *, started: datetime) -> Iterator[Path]:
    """Write a folder per evaluator and yield the paths as they are written.

    Args:
        out: Folder that the evaluators' folders are made in.
        plan: What was asked for.
        report: What it came to.
        started: When the evaluation began; lm-eval's files are named after it.
    """
    versions = {entry.name: entry.version for entry in installed("evaluator")}
    for method in plan.methods:
        info = _run_info(plan, report, method, version=versions[method.name], started=started)
        results = {
            task: found for (name, task), found in report.results.items() if name == method.name
        }
        folder = out / method.name
        everything = (result for found in results.values() for result in found)
        yield from write_lm_eval(folder, everything, tasks=report.tasks, run=info)
        for task, found in results.items():
            yield write_results(folder / TRANSCRIPTS.format(task=task.replace("/", "__")), found)


def _run_info(
    plan: Plan, report: Report, method: Method, *, version: str, started: datetime
) -> RunInfo:
    limits = set(plan.task_limits.values())
    return RunInfo(
        model=report.model.label,
        model_source=plan.model.model,
        evaluator=method.name,
        evaluator_version=version,
        started=started,
        model_args=plan.model.args,
        params=method.params,
        model_dtype=report.model.dtype or "",
        fingerprint=report.fingerprint,
        batch_size=plan.model.batch_size,
        limit=limits.pop() if len(limits) == 1 else None,
        seed=plan.seed,
        seconds=(datetime.now().astimezone() - started).total_seconds(),
    )
