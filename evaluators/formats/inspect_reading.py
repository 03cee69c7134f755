"""What Inspect's reader says of a log, as a run of ours."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evaluators.answers import same_answer
from evaluators.errors import BadFile
from evaluators.formats.folder import run_from_json
from evaluators.formats.inspect_logs import started
from evaluators.formats.results import clean_text, from_json, restore
from evaluators.formats.stored import RunInfo, StoredRun
from evaluators.model import (
    AnswerState,
    Failure,
    Grade,
    Message,
    Node,
    Sample,
    SampleResult,
    Sampling,
    Usage,
)
from evaluators.ports import TaskInfo
from evaluators.tasks.spec import TaskSpec

MARKS: Mapping[object, float] = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
"""Inspect's words for correct, incorrect, partial and no answer."""

SPEAKERS = frozenset({"system", "user", "assistant"})
_ANSWER = re.compile(r"answer_([1-9][0-9]*)")


def to_stored(path: Path, log: Mapping[str, Any]) -> StoredRun:
    """Return the run that a log tells of.

    Raises:
        BadFile: The evaluation did not finish, or a sample is judged neither right nor wrong.
    """
    if log["status"] != "success":
        reason = f"the evaluation did not finish: {log['status']}"
        raise BadFile(path=str(path), line=None, reason=reason)
    spec = log["eval"]
    samples = _in_order(log["samples"], (spec.get("dataset") or {}).get("sample_ids") or ())
    if not samples:
        raise BadFile(path=str(path), line=None, reason="the log has no samples")
    task = str(spec["task"])
    results = tuple(_result(path, task, sample) for sample in samples)
    ours = (spec.get("metadata") or {}).get("redraft")
    if ours is None:
        tasks = {task: _info(spec, samples)}
        return StoredRun(path, "inspect", _run(spec), tasks, {task: results})
    try:
        run, info = run_from_json(ours["run"]), restore(TaskInfo, json.dumps(ours["task"]))
        spec_of = json.dumps(ours["spec"]) if "spec" in ours else ""
        specs = {task: restore(TaskSpec, spec_of)} if spec_of else {}
    except (ValueError, TypeError, KeyError) as error:
        reason = f"what we wrote into it was changed: {error}"
        raise BadFile(path=str(path), line=None, reason=reason) from error
    return StoredRun(path, "redraft", run, {task: info}, {task: results}, specs)


def _in_order(samples: list[Any], ids: Sequence[object]) -> list[Any]:
    """Return the samples in the data set's order; Inspect files them by name."""
    places = {str(name): place for place, name in enumerate(ids)}
    return sorted(samples, key=lambda one: (places.get(one["id"], len(places)), one["epoch"]))


def _run(spec: Mapping[str, Any]) -> RunInfo:
    source, _, model = str(spec["model"]).partition("/")
    packages = dict(spec.get("packages") or {})
    revision = spec.get("revision") or {}
    limit = (spec.get("config") or {}).get("limit")
    return RunInfo(
        model=model or source,
        model_source=source if model else "",
        evaluator=str(spec.get("solver") or "inspect"),
        evaluator_version=str(packages.get("inspect_ai", "")),
        started=started(spec["created"]),
        model_args=dict(spec.get("model_args") or {}),
        params=dict(spec.get("solver_args") or {}),
        limit=limit if isinstance(limit, int) else None,
        git_hash=revision.get("commit"),
        packages=packages,
    )


def _info(spec: Mapping[str, Any], samples: list[Any]) -> TaskInfo:
    config = spec.get("model_generate_config") or {}
    plain = Sampling()
    return TaskInfo(
        name=str(spec["task"]),
        version=str(spec.get("task_version", "")),
        size=int((spec.get("dataset") or {}).get("samples") or len(samples)),
        sampling=Sampling(
            max_tokens=int(config.get("max_tokens") or plain.max_tokens),
            temperature=float(config.get("temperature") or 0.0),
            top_p=float(config.get("top_p") or 1.0),
            stop=tuple(config.get("stop_seqs") or ()),
        ),
        metric="score",
        filter="none",
        threshold=1.0,
        num_fewshot=0,
        summary="",
        digest="",
        filters=("none",),
        config={},
    )


def _result(path: Path, task: str, told: Mapping[str, Any]) -> SampleResult:
    metadata = dict(told["metadata"])
    if (kept := metadata.pop("redraft", None)) is not None:
        try:
            result = from_json(kept)
        except (ValueError, TypeError) as error:
            reason = f"sample {told['id']!r} of ours was changed: {error}"
            raise BadFile(path=str(path), line=None, reason=reason) from error
        return replace(result, sample=replace(result.sample, metadata=metadata))
    sample = _sample(task, told, metadata)
    if told["error"] or not told["scores"]:
        failure = Failure("inspect-error", told["error"] or "the log has no score of it")
        return SampleResult(sample, told["epoch"] - 1, "unscored", failure=failure)
    answers = tuple(_answers(path, told))
    before = _chat(told["messages"] or told["input"])
    asked = tuple(before[:-1]) if before and before[-1].role == "assistant" else tuple(before)
    count = _usage(told)
    nodes = tuple(
        Node(i, "answer", "actor", i, (i - 1,) if i else (), asked if i == 0 else (), answer.text,
             None, None, count if i == 0 else None)
        for i, answer in enumerate(answers)
    )  # fmt: skip
    return SampleResult(
        sample, told["epoch"] - 1, "ok", answers, nodes, seconds=float(told["seconds"] or 0.0)
    )


def _usage(told: Mapping[str, Any]) -> Usage | None:
    """Return the tokens of a sample with one answer; calls of several cannot be told apart."""
    if len(told["usage"]) != 1:
        return None
    (count,) = told["usage"].values()
    spoken = sum(message["role"] == "assistant" for message in told["messages"])
    if spoken > 1:
        return None
    return Usage(int(count.get("input_tokens") or 0), int(count.get("output_tokens") or 0))


def _sample(task: str, told: Mapping[str, Any], metadata: Mapping[str, Any]) -> Sample:
    messages = tuple(_chat(told["input"]))
    return Sample(
        clean_text(told["id"]),
        task,
        messages,
        messages[-1:],
        choices=tuple(map(clean_text, told["choices"])),
        metadata={
            key: value for key, value in metadata.items() if isinstance(value, str | int | bool)
        },
    )


def _answers(path: Path, told: Mapping[str, Any]) -> list[AnswerState]:
    """Return an answer per `answer_<n>` score, else the one that the first score judges."""
    scores = told["scores"]
    numbered = sorted(
        (int(match[1]), name) for name in scores if (match := _ANSWER.fullmatch(name))
    )
    names = [name for _, name in numbered] or [next(iter(scores))]
    target = told["target"] if isinstance(told["target"], str) else " | ".join(told["target"])
    states: list[AnswerState] = []
    for place, name in enumerate(names):
        value = _number(scores[name]["value"])
        if value is None:
            reason = f"sample {told['id']!r}: score {name!r} is {scores[name]['value']!r:.60}"
            raise BadFile(path=str(path), line=None, reason=f"{reason}, neither right nor wrong")
        extracted = scores[name]["answer"]
        extracted = clean_text(extracted) if isinstance(extracted, str) else None
        last = place == len(names) - 1
        text = told["completion"] if last else scores[name]["explanation"] or extracted or ""
        grade = Grade(value >= 1.0, value, extracted, clean_text(target))
        before = states[-1].grade.extracted if states else None
        changed = bool(states) and not same_answer(before, extracted)
        truncated = last and told["stop_reason"] in {"max_tokens", "model_length"}
        states.append(AnswerState(place, clean_text(text), truncated, grade, changed))
    return states


def _number(value: object) -> float | None:
    if isinstance(value, bool | int | float):
        return float(value)
    return MARKS.get(value) if isinstance(value, str) else None


def _chat(messages: Any) -> list[Message]:
    return [
        Message(one["role"], clean_text(one["content"]))
        for one in messages
        if one["role"] in SPEAKERS
    ]
