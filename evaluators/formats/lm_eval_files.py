"""A run as lm-eval writes it, so that whatever reads lm-eval's files reads ours."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluators.formats.lines import write_lines
from evaluators.formats.lm_eval_rows import clean, dump, rows, scored, sha
from evaluators.formats.stored import RunInfo
from evaluators.metrics import Trajectory, decompose
from evaluators.model import SampleResult
from evaluators.ports import TaskInfo

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["RunInfo", "lm_eval_name", "mean_stderr", "sanitised", "stamp", "write_lm_eval"]


def write_lm_eval(
    out: Path, results: Iterable[SampleResult], *, tasks: Mapping[str, TaskInfo], run: RunInfo
) -> list[Path]:
    """Write result and sample files of one evaluator's run; return their paths, results last.

    There is one file of samples per round: `samples_<task>_<time>.jsonl` holds the last answers,
    `samples_<task>_round<k>_<time>.jsonl` the earlier ones. Whoever finds the results file finds
    all others, because it is written at the end.

    Args:
        tasks: What each task said of itself; every result's task must be among them.
    """
    folder, time = out / sanitised(run.model), stamp(run.started)
    by_task: dict[str, list[SampleResult]] = {name: [] for name in tasks}
    for result in results:
        by_task[result.sample.task].append(result)
    written: list[Path] = []
    hashes: dict[str, str] = {}
    for task, found in by_task.items():
        rounds = max((len(result.answers) for result in found), default=0)
        for number in range(1, rounds + 1):
            earlier = f"_round{number}" if number < rounds else ""
            path = folder / f"samples_{file_name(task)}{earlier}_{time}.jsonl"
            written.append(write_lines(path, map(dump, rows(found, number, run=run))))
        hashes[lm_eval_name(task)] = _task_hash(rows(found, max(rounds, 1), run=run))
    summary = _summary(by_task, tasks=tasks, run=run) | {"task_hashes": hashes}
    text = json.dumps(clean(summary), indent=2, ensure_ascii=False, allow_nan=False)
    written.append(write_lines(folder / f"results_{time}.json", [text]))
    return written


def sanitised(name: str) -> str:
    """Return a model's name as lm-eval makes it a folder's; never one that leaves the folder."""
    safe = re.sub(r"[\"<>:/|\\?*\[\]\x00-\x1f]+", "__", name)
    return "__" if safe in {"", ".", ".."} else safe


def lm_eval_name(task: str) -> str:
    """Return lm-eval's name of a task: scoring choices by likelihood is what it does itself."""
    return task.removesuffix(":likelihood")


def file_name(task: str) -> str:
    """Return the task's part of a file name."""
    return sanitised(lm_eval_name(task))


def mean_stderr(values: Sequence[float]) -> float | str:
    """Return the standard error as lm-eval computes it: n-1, and "N/A" below two values."""
    if len(values) < 2:
        return "N/A"
    return float(statistics.stdev(values) / len(values) ** 0.5)


def stamp(started: datetime) -> str:
    """Return the time that files are named after, as lm-eval writes it."""
    local = started.astimezone().replace(tzinfo=None)
    return local.isoformat(timespec="microseconds").replace(":", "-")


def _summary(
    by_task: Mapping[str, Sequence[SampleResult]],
    *,
    tasks: Mapping[str, TaskInfo],
    run: RunInfo,
) -> dict[str, Any]:
    names = {task: lm_eval_name(task) for task in tasks}
    graded = {task: scored(found) for task, found in by_task.items()}
    decompositions = {
        name: decompose(Trajectory.from_result(result) for result in by_task[task])
        for task, name in names.items()
    }
    return {
        "results": {
            names[task]: _task_metrics(names[task], found) for task, found in graded.items()
        },
        "group_subtasks": {name: [] for name in names.values()},
        "configs": {names[task]: info.config for task, info in tasks.items()},
        "versions": {names[task]: info.version for task, info in tasks.items()},
        "n-shot": {names[task]: info.num_fewshot for task, info in tasks.items()},
        "higher_is_better": {names[task]: _directions(info) for task, info in tasks.items()},
        "n-samples": {
            names[task]: {
                "original": info.size,
                "effective": len({result.sample.id for result in graded[task]}),
            }
            for task, info in tasks.items()
        },
        **_about(run),
        "redraft": {
            "evaluator": run.evaluator,
            "evaluator_version": run.evaluator_version,
            "params": dict(run.params),
            "fingerprint": run.fingerprint,
            "roles": {role: dict(model) for role, model in run.roles.items()},
            **({"prompt_pack": dict(run.prompt_pack)} if run.prompt_pack else {}),
            "replicates": _replicates(by_task),
            "decomposition": {name: found.to_json() for name, found in decompositions.items()},
        },
    }


def _about(run: RunInfo) -> dict[str, Any]:
    """Return what lm-eval says of model and environment."""
    return {
        "config": _config(run),
        "git_hash": run.git_hash,
        "date": run.started.timestamp(),
        "transformers_version": run.packages.get("transformers") or _installed("transformers"),
        "lm_eval_version": run.packages.get("lm_eval") or _installed("lm_eval"),
        "model_source": run.model_source,
        "model_name": run.model,
        "model_name_sanitized": sanitised(run.model),
        "system_instruction": run.system_instruction,
        "system_instruction_sha": _sha_or_none(run.system_instruction),
        "fewshot_as_multiturn": True,
        "chat_template": run.chat_template,
        "chat_template_sha": _sha_or_none(run.chat_template),
        "total_evaluation_time_seconds": str(run.seconds),
    }


def _replicates(by_task: Mapping[str, Sequence[SampleResult]]) -> int:
    return max((r.replicate + 1 for found in by_task.values() for r in found), default=1)


def _task_metrics(task: str, results: Sequence[SampleResult]) -> dict[str, Any]:
    """Return mean and standard error of every metric of every filter over the last answers.

    Replicates of a document count as one value, their mean: they are not independent.
    """
    values: dict[str, dict[str, list[float]]] = {}
    for result in results:
        for key, score in result.answers[-1].grade.scores.items():
            values.setdefault(key, {}).setdefault(result.sample.id, []).append(score)
    documents = {result.sample.id for result in results}
    metrics: dict[str, Any] = {"name": task, "alias": task, "sample_len": len(documents)}
    for key, by_document in values.items():
        metric, _, name = key.rpartition(",")
        scores = [statistics.fmean(found) for found in by_document.values()]
        metrics[key] = statistics.fmean(scores)
        metrics[f"{metric}_stderr,{name}"] = mean_stderr(scores)
    return metrics


def _directions(info: TaskInfo) -> dict[str, bool]:
    """Return which metrics are better when higher, as far as the task's configuration says so."""
    config = info.config if isinstance(info.config, Mapping) else {}
    metrics = config.get("metric_list")
    known = [m for m in metrics if isinstance(m, Mapping)] if isinstance(metrics, Sequence) else []
    return {
        str(metric["metric"]): bool(metric["higher_is_better"])
        for metric in known
        if "metric" in metric and "higher_is_better" in metric
    }


def _config(run: RunInfo) -> dict[str, Any]:
    return {
        "model": run.model_source,
        "model_args": dict(run.model_args),
        "model_sha": run.model_sha,
        "model_dtype": run.model_dtype,
        "batch_size": run.batch_size,
        "batch_sizes": [],
        "device": None,
        "use_cache": None,
        "limit": run.limit,
        "bootstrap_iters": 0,
        "gen_kwargs": {},
        **dict.fromkeys(("random_seed", "numpy_seed", "torch_seed", "fewshot_seed"), run.seed),
    }


def _installed(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "N/A"


def _task_hash(found: Iterable[Mapping[str, Any]]) -> str:
    return sha("".join(row["doc_hash"] + row["prompt_hash"] + row["target_hash"] for row in found))


def _sha_or_none(text: str | None) -> str | None:
    return sha(text) if text else None
