"""A run as lm-eval writes it, so that whatever reads lm-eval's files reads ours."""

from __future__ import annotations

import hashlib
import json
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from evaluators.formats.lines import write_lines
from evaluators.formats.results import clean_text
from evaluators.metrics import Trajectory, decompose
from evaluators.model import AnswerState, Json, SampleResult
from evaluators.ports import TaskInfo

INVALID = "[invalid]"
"""What lm-eval's filters say when they extract nothing."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a result file says of the run as a whole."""

    model: str
    """The model's name, such as a Hub repository; names the folder."""
    model_source: str
    """lm-eval's kind of model or our runtime: `hf`, `vllm`, ..."""
    evaluator: str
    evaluator_version: str
    started: datetime
    """Aware; files are named after it in local time, as lm-eval does."""
    model_args: Mapping[str, Json] = field(default_factory=dict)
    params: Mapping[str, Json] = field(default_factory=dict)
    """The evaluator's parameters."""
    model_sha: str = ""
    model_dtype: str = ""
    fingerprint: str = ""
    """The runtime's identity of model, dtype and chat template."""
    batch_size: int | None = None
    limit: int | None = None
    seed: int = 0
    seconds: float = 0.0
    """Wall time of the whole run."""
    chat_template: str | None = None
    system_instruction: str | None = None
    git_hash: str | None = None


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
    folder, stamp = out / sanitised(run.model), _stamp(run.started)
    by_task: dict[str, list[SampleResult]] = {name: [] for name in tasks}
    for result in results:
        by_task[result.sample.task].append(result)
    written: list[Path] = []
    hashes: dict[str, str] = {}
    for task, found in by_task.items():
        rounds = max((len(result.answers) for result in found), default=0)
        for number in range(1, rounds + 1):
            earlier = f"_round{number}" if number < rounds else ""
            path = folder / f"samples_{task.replace('/', '__')}{earlier}_{stamp}.jsonl"
            rows = [_dump(row) for row in _rows(found, number, run=run)]
            written.append(write_lines(path, rows))
        hashes[task] = _task_hash(_rows(found, max(rounds, 1), run=run))
    summary = _summary(by_task, tasks=tasks, run=run) | {"task_hashes": hashes}
    text = json.dumps(_clean(summary), indent=2, ensure_ascii=False, allow_nan=False)
    written.append(write_lines(folder / f"results_{stamp}.json", [text]))
    return written


def sanitised(name: str) -> str:
    """Return a model's name as lm-eval makes it a folder's; never one that leaves the folder."""
    safe = re.sub(r"[\"<>:/|\\?*\[\]\x00-\x1f]+", "__", name)
    return "__" if safe in {"", ".", ".."} else safe


def mean_stderr(values: Sequence[float]) -> float | str:
    """Return the standard error as lm-eval computes it: n-1, and "N/A" below two values."""
    if len(values) < 2:
        return "N/A"
    return float(statistics.stdev(values) / len(values) ** 0.5)


def _stamp(started: datetime) -> str:
    local = started.astimezone().replace(tzinfo=None)
    return local.isoformat(timespec="microseconds").replace(":", "-")


def _scored(results: Iterable[SampleResult]) -> list[SampleResult]:
    return [result for result in results if result.status == "ok" and result.answers]


def _rows(
    results: Sequence[SampleResult], number: int, *, run: RunInfo
) -> Iterator[dict[str, Any]]:
    """Yield the sample lines of one round: for every filter, every graded sample in order.

    A sample that stopped earlier stands there with the answer it stopped at.
    """
    graded, doc_ids = _scored(results), _doc_ids(results)
    filters = dict.fromkeys(
        name for result in graded for answer in result.answers for name in _filters(answer)
    )
    for name in filters:
        for result in graded:
            last = min(number, len(result.answers))
            if name in _filters(result.answers[last - 1]):
                row = _row(result, last, name, run=run)
                yield row | {"doc_id": doc_ids[result.sample.id], "round": number}


def _doc_ids(results: Sequence[SampleResult]) -> dict[str, int]:
    """Number the documents as the task does where its ids are numbers, else in order."""
    ids = list(dict.fromkeys(result.sample.id for result in results))
    if all(name.isascii() and name.isdigit() for name in ids):
        return {name: int(name) for name in ids}
    return {name: number for number, name in enumerate(ids)}


def _filters(answer: AnswerState) -> list[str]:
    return list(dict.fromkeys(key.rpartition(",")[2] for key in answer.grade.scores))


def _row(result: SampleResult, number: int, name: str, *, run: RunInfo) -> dict[str, Any]:
    """Return lm-eval's fields of one answer under one filter, and ours behind them."""
    answer, sample = result.answers[number - 1], result.sample
    grade = answer.grade
    prompt, settings = _asked(result, answer)
    doc = {"id": sample.id, **sample.metadata}
    scores = {
        key.rpartition(",")[0]: value
        for key, value in grade.scores.items()
        if key.rpartition(",")[2] == name
    }
    extracted = grade.extractions.get(name, grade.extracted)
    return {
        "doc_id": 0,
        "doc": doc,
        "target": grade.gold,
        "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": settings}},
        "resps": [[answer.text]],
        "filtered_resps": [INVALID if extracted is None else extracted],
        "filter": name,
        "metrics": list(scores),
        "doc_hash": _sha(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": _sha(prompt),
        "target_hash": _sha(grade.gold),
        **scores,
        "round": number,
        "role": "generate" if number == 1 else "revise",
        "replicate": result.replicate,
        "evaluator": run.evaluator,
        "evaluator_version": run.evaluator_version,
        "prev_correct": result.answers[number - 2].grade.correct if number > 1 else None,
    }


def _asked(result: SampleResult, answer: AnswerState) -> tuple[str, dict[str, Json]]:
    """Return prompt and settings of the call behind an answer; a vote shows the sample's prompt."""
    node = next((node for node in result.nodes if node.idx == answer.node), None)
    messages = (node.messages if node else ()) or result.sample.messages
    prompt = json.dumps([message.wire() for message in messages], ensure_ascii=False)
    if node is None or node.sampling is None:
        return prompt, {}
    sampling = node.sampling
    return prompt, {
        "until": list(sampling.stop),
        "max_gen_toks": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "do_sample": sampling.temperature > 0,
    }


def _summary(
    by_task: Mapping[str, Sequence[SampleResult]],
    *,
    tasks: Mapping[str, TaskInfo],
    run: RunInfo,
) -> dict[str, Any]:
    scored = {task: _scored(found) for task, found in by_task.items()}
    decompositions = {
        task: decompose(Trajectory.from_result(result) for result in found)
        for task, found in by_task.items()
    }
    return {
        "results": {task: _task_metrics(task, found) for task, found in scored.items()},
        "group_subtasks": {task: [] for task in tasks},
        "configs": {task: info.config for task, info in tasks.items()},
        "versions": {task: info.version for task, info in tasks.items()},
        "n-shot": {task: info.num_fewshot for task, info in tasks.items()},
        "higher_is_better": {task: _directions(info) for task, info in tasks.items()},
        "n-samples": {
            task: {"original": info.size, "effective": len({r.sample.id for r in scored[task]})}
            for task, info in tasks.items()
        },
        "config": _config(run),
        "git_hash": run.git_hash,
        "date": run.started.timestamp(),
        "transformers_version": _installed("transformers"),
        "lm_eval_version": _installed("lm_eval"),
        "model_source": run.model_source,
        "model_name": run.model,
        "model_name_sanitized": sanitised(run.model),
        "system_instruction": run.system_instruction,
        "system_instruction_sha": _sha_or_none(run.system_instruction),
        "fewshot_as_multiturn": True,
        "chat_template": run.chat_template,
        "chat_template_sha": _sha_or_none(run.chat_template),
        "total_evaluation_time_seconds": str(run.seconds),
        "redraft": {
            "evaluator": run.evaluator,
            "evaluator_version": run.evaluator_version,
            "params": dict(run.params),
            "fingerprint": run.fingerprint,
            "decomposition": {task: found.to_json() for task, found in decompositions.items()},
        },
    }


def _task_metrics(task: str, results: Sequence[SampleResult]) -> dict[str, Any]:
    """Return mean and standard error of every metric of every filter over the last answers."""
    values: dict[str, list[float]] = {}
    for result in results:
        for key, score in result.answers[-1].grade.scores.items():
            values.setdefault(key, []).append(score)
    metrics: dict[str, Any] = {"name": task, "alias": task, "sample_len": len(results)}
    for key, scores in values.items():
        metric, _, name = key.rpartition(",")
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


def _task_hash(rows: Iterable[Mapping[str, Any]]) -> str:
    return _sha("".join(row["doc_hash"] + row["prompt_hash"] + row["target_hash"] for row in rows))


def _sha(text: str) -> str:
    return hashlib.sha256(clean_text(text).encode()).hexdigest()


def _sha_or_none(text: str | None) -> str | None:
    return _sha(text) if text else None


def _dump(row: Mapping[str, Any]) -> str:
    return json.dumps(_clean(row), ensure_ascii=False, allow_nan=False)


def _clean(value: Any) -> Any:
    """Return JSON whose text every reader takes."""
    match value:
        case str():
            return clean_text(value)
        case Mapping():
            return {clean_text(str(key)): _clean(item) for key, item in value.items()}
        case list() | tuple():
            return [_clean(item) for item in value]
    return value
