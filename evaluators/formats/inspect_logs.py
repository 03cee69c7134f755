"""Inspect's `.eval` logs, written and read by Inspect itself in a process of its own."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from evaluators.errors import BadFile
from evaluators.formats import inspect_child
from evaluators.formats.chat import told
from evaluators.formats.folder import run_to_json
from evaluators.formats.lm_eval_files import sanitised, stamp
from evaluators.formats.lm_eval_rows import clean, scored
from evaluators.formats.results import plain, to_json
from evaluators.formats.stored import RunInfo, StoredRun
from evaluators.metrics import decompose
from evaluators.model import SampleResult, Usage
from evaluators.ports import TaskInfo

PACKAGE = "inspect_ai"
SECONDS = 600
"""How long reading or writing one log may take."""

FIGURES = ("acc@1", "acc@last", "delta", "CL", "CS", "RSS")


def write_inspect(out: Path, stored: StoredRun, *, python: str | None = None) -> Iterator[Path]:
    """Write a log per task and yield the paths.

    An item and replicate is a sample and epoch; rounds are its messages, and `answer_1`,
    `answer_2`, ... its scores, `last_answer` the one that counts. What Inspect has no place for
    stands in the sample's metadata, so that reading a log of ours gives the same run back.

    Args:
        python: A Python that has inspect-ai; this one by default.

    Raises:
        BadFile: There is no inspect-ai, or it refuses.
    """
    for task, info in stored.tasks.items():
        name = f"{stamp(stored.run.started).partition('.')[0]}+00-00_{sanitised(task)}_"
        path = out / f"{name}{_digest(stored, task)[:22]}.eval"
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out, prefix=".part") as scratch:
            part = Path(scratch) / path.name
            log = _log(stored, info)
            if (spec := stored.specs.get(task)) is not None:
                log["eval"]["metadata"]["redraft"]["spec"] = spec.wire()
            _ask(python, path, {"do": "write", "path": str(part), **log})
            part.replace(path)
        yield path


def ask_read(path: Path, python: str | None) -> dict[str, Any]:
    """Return what Inspect's reader says of a log.

    Raises:
        BadFile: It cannot be read.
    """
    found: dict[str, Any] = _ask(python, path, {"do": "read", "path": str(path.resolve())})
    return found


def read_inspect(path: Path, *, python: str | None = None) -> StoredRun:
    """Read a log, ours or any other.

    Raises:
        BadFile: It cannot be read, or its samples have no score that is right or wrong.
    """
    from evaluators.formats.inspect_reading import to_stored

    return to_stored(path, ask_read(path, python))


def _ask(python: str | None, path: Path, request: Mapping[str, Any]) -> Any:
    if python is None and find_spec(PACKAGE) is None:
        reason = (
            "Inspect's logs need inspect-ai: install redraft[inspect], "
            "or name a Python that has it with --inspect-python"
        )
        raise BadFile(path=str(path), line=None, reason=reason)
    command = [python or sys.executable, "-I", str(Path(inspect_child.__file__))]
    try:
        done = subprocess.run(  # noqa: S603 - our own file, and a Python the user named
            command,
            input=json.dumps(clean(request)),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        reply = json.loads(done.stdout) if done.returncode == 0 else {}
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise BadFile(path=str(path), line=None, reason=f"Inspect: {error}") from error
    if "result" not in reply:
        last = done.stderr.strip().rpartition("\n")[2]
        reason = reply.get("error") or last or f"{command[0]} ended with {done.returncode}"
        raise BadFile(path=str(path), line=None, reason=f"Inspect: {reason}")
    return reply["result"]


def _digest(stored: StoredRun, task: str) -> str:
    run = stored.run
    told_of = [run.evaluator, dict(run.params), task, run.model, run.fingerprint]
    told_of += run.identity_of_prompts
    text = json.dumps([*told_of, run.started.isoformat()], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _log(stored: StoredRun, info: TaskInfo) -> dict[str, Any]:
    run, results = stored.run, stored.results[info.name]
    digest = _digest(stored, info.name)
    started = run.started.astimezone(UTC).isoformat()
    usage = _summed([_usage(result, run.model) for result in results])
    return {
        "eval": _spec(run, info, results, digest=digest) | {"created": started},
        "plan": {
            "name": run.evaluator,
            "steps": [{"solver": run.evaluator, "params": dict(run.params)}],
            "config": _sampling(info),
        },
        "results": _results(stored, info),
        "stats": {"started_at": started, "completed_at": started, "model_usage": usage},
        "samples": [_sample(result, run, digest=digest) for result in results],
    }


def _spec(
    run: RunInfo, info: TaskInfo, results: Sequence[SampleResult], *, digest: str
) -> dict[str, Any]:
    ids = list(dict.fromkeys(result.sample.id for result in results))
    return {
        "eval_id": digest[:22],
        "run_id": digest[22:44],
        "task": info.name,
        "task_id": digest[42:64],
        "task_version": info.version,
        "solver": run.evaluator,
        "solver_args": dict(run.params),
        "dataset": {"name": info.name, "samples": len(ids), "sample_ids": ids, "shuffled": False},
        "model": f"{run.model_source or 'unknown'}/{run.model}",
        "model_generate_config": _sampling(info),
        "model_args": dict(run.model_args),
        "config": {
            "limit": run.limit,
            "epochs": max((result.replicate + 1 for result in results), default=1),
        },
        "packages": {"redraft": version("redraft"), **run.packages},
        "scorers": [{"name": "last_answer", "options": {}}],
        "metadata": {"redraft": {"run": run_to_json(run), "task": plain(info)}},
    }


def _sampling(info: TaskInfo) -> dict[str, Any]:
    sampling = info.sampling
    return {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stop_seqs": list(sampling.stop),
    }


def _results(stored: StoredRun, info: TaskInfo) -> dict[str, Any]:
    found, results = decompose(stored.trajectories(info.name)), stored.results[info.name]
    metrics = {
        name: {
            "name": name,
            "value": found[name].value,
            "metadata": {
                "n": found[name].n,
                "n_total": found[name].n_total,
                "low": found[name].low,
                "high": found[name].high,
                "interval": found[name].method,
            },
        }
        for name in FIGURES
        if found[name].value is not None
    }
    graded = len(scored(results))
    return {
        "total_samples": len(results),
        "completed_samples": graded,
        "scores": [
            {
                "name": "last_answer",
                "scorer": "last_answer",
                "scored_samples": graded,
                "unscored_samples": len(results) - graded,
                "metrics": metrics,
            }
        ],
    }


def _sample(result: SampleResult, run: RunInfo, *, digest: str) -> dict[str, Any]:
    turns, answers = told(result), result.answers
    scores = {f"answer_{n}": _score(result, n) for n in range(1, len(answers) + 1)}
    if answers:
        scores["last_answer"] = _score(result, len(answers))
    finish = {node.idx: node.finish_reason for node in result.nodes}
    key = f"{digest}/{result.sample.id}/{result.replicate}"
    return {
        "id": result.sample.id,
        "epoch": result.replicate + 1,
        "uuid": hashlib.sha256(key.encode()).hexdigest()[:22],
        "input": [message.wire() for message in result.sample.messages],
        "choices": list(result.sample.choices),
        "target": answers[-1].grade.gold if answers else "",
        "model": run.model,
        "messages": [
            {"role": turn.role, "content": turn.content, "id": f"{key[:16]}-{i}"}
            for i, turn in enumerate(turns)
        ],
        "output": {
            "text": answers[-1].text if answers else "",
            "finish_reason": finish.get(answers[-1].node) if answers else None,
        },
        "scores": scores,
        "usage": _usage(result, run.model),
        "role_usage": _role_usage(result),
        "metadata": {
            **result.sample.metadata,
            "redraft": to_json(replace(result, sample=replace(result.sample, metadata={}))),
        },
        "seconds": result.seconds,
        "error": f"{result.failure.error}: {result.failure.detail}" if result.failure else None,
    }


def _score(result: SampleResult, number: int) -> dict[str, Any]:
    """Return one answer's score, `C` or `I` as Inspect marks right and wrong."""
    answer = result.answers[number - 1]
    return {
        "value": "C" if answer.grade.correct else "I",
        "answer": answer.grade.extracted,
        "explanation": answer.text,
        "metadata": {"score": answer.grade.score, "changed": answer.changed},
    }


def _usage(result: SampleResult, model: str) -> dict[str, dict[str, int]]:
    return {model: _count([node.usage for node in result.nodes if node.usage])}


def _role_usage(result: SampleResult) -> dict[str, dict[str, int]]:
    roles = dict.fromkeys(node.role for node in result.nodes if node.usage)
    return {
        role: _count([n.usage for n in result.nodes if n.usage and n.role == role])
        for role in roles
    }


def _count(usages: Sequence[Usage]) -> dict[str, int]:
    taken = sum(usage.prompt_tokens for usage in usages)
    made = sum(usage.completion_tokens for usage in usages)
    return {"input_tokens": taken, "output_tokens": made, "total_tokens": taken + made}


def _summed(counts: Sequence[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    total: dict[str, dict[str, int]] = {}
    for count in counts:
        for model, usage in count.items():
            kept = total.setdefault(model, dict.fromkeys(usage, 0))
            for key, tokens in usage.items():
                kept[key] += tokens
    return total


def started(created: str) -> datetime:
    """Return when a log was made."""
    when = datetime.fromisoformat(created)
    return when if when.tzinfo else when.replace(tzinfo=UTC)
