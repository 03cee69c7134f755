"""Records of Every Eval Ever read back: answers and their grades, without the calls."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from evaluators.errors import BadFile
from evaluators.formats.lines import problem, read_json, read_objects
from evaluators.formats.results import clean_text
from evaluators.formats.stored import RunInfo, StoredRun
from evaluators.model import AnswerState, Grade, Message, Node, Sample, SampleResult, Sampling
from evaluators.ports import TaskInfo

SPEAKERS = frozenset({"system", "user", "assistant"})


class _Message(BaseModel):
    role: str
    content: str | None = None


class _Input(BaseModel):
    raw: str
    reference: list[str]
    choices: list[str] | None = None


class _Output(BaseModel):
    raw: list[str]


class _Attribution(BaseModel):
    turn_idx: int
    extracted_value: str


class _Evaluation(BaseModel):
    score: float
    is_correct: bool


class _Record(BaseModel):
    """The fields of a sample record that say something of its answers."""

    model_config = ConfigDict(extra="allow")

    sample_id: str
    input: _Input
    output: _Output | None = None
    messages: list[_Message] | None = None
    answer_attribution: list[_Attribution]
    evaluation: _Evaluation
    metadata: dict[str, str] | None = None

    def fact(self, name: str) -> Any:
        """Return one of our facts, or None where another tool wrote the record."""
        try:
            return json.loads((self.metadata or {}).get(name, "null"))
        except ValueError:
            return (self.metadata or {}).get(name)


def is_every_eval_ever(path: Path) -> bool:
    """Tell whether a JSON file is an aggregate record of this format."""
    data = read_json(path)
    return "schema_version" in data and "evaluation_results" in data


def find_every_eval_ever(folder: Path) -> list[Path]:
    """Return the aggregate records below a folder: those with a file of samples beside them."""
    return sorted(
        path for path in folder.rglob("*.json") if path.with_name(_samples_name(path)).is_file()
    )


def read_every_eval_ever(path: Path) -> StoredRun:
    """Read an aggregate record and its samples.

    Raises:
        BadFile: A file is missing, damaged or of another format; with the line where there is one.
    """
    aggregate = read_json(path)
    if str(aggregate.get("schema_version", "")).split(".")[:2] != ["0", "3"]:
        told = aggregate.get("schema_version")
        raise BadFile(path=str(path), line=None, reason=f"schema version {told!r}; known is 0.3")
    samples = path.with_name(_samples_name(path))
    _check(samples, _mapping(aggregate.get("detailed_evaluation_results")))
    records = list(_records(samples))
    facts = {str(record.fact("task") or "") for record in records} - {""}
    task = facts.pop() if len(facts) == 1 else _name(aggregate, path)
    results = tuple(_result(record, task) for record in records)
    return StoredRun(
        path, "every-eval-ever", _run(aggregate), {task: _info(aggregate, task)}, {task: results}
    )


def _samples_name(path: Path) -> str:
    return f"{path.stem}_samples.jsonl"


def _check(samples: Path, detail: Mapping[str, Any]) -> None:
    if not samples.is_file():
        raise BadFile(path=str(samples), line=None, reason="the record's samples are missing")
    checksum = detail.get("checksum")
    if checksum and detail.get("hash_algorithm") == "sha256":
        found = hashlib.sha256(samples.read_bytes()).hexdigest()
        if found != checksum:
            reason = "its checksum is not the one that the record names: it was cut off or changed"
            raise BadFile(path=str(samples), line=None, reason=reason)


def _records(path: Path) -> list[_Record]:
    found: dict[tuple[str, int], _Record] = {}
    for number, _, data in read_objects(path):
        try:
            record = _Record.model_validate(data)
        except ValidationError as error:
            raise BadFile(path=str(path), line=number, reason=problem(error)) from error
        # Other tools write a record per metric; the first tells all there is of the answers.
        found.setdefault((record.sample_id, int(record.fact("replicate") or 0)), record)
    return list(found.values())


def _result(record: _Record, task: str) -> SampleResult:
    said = [Message("user", clean_text(record.input.raw))]
    if record.messages:
        said = [
            Message(m.role, clean_text(m.content or ""))  # type: ignore[arg-type]  # checked in this line
            for m in record.messages
            if m.role in SPEAKERS
        ]
    first = next((i for i, m in enumerate(said) if m.role == "assistant"), len(said))
    question = tuple(said[:first][-1:])
    choices = tuple(record.input.choices or ())
    cluster = str((record.metadata or {}).get("cluster", ""))
    sample = Sample(record.sample_id, task, tuple(said[:first]), question, cluster, choices)
    answers = _answers(record)
    nodes = tuple(
        Node(i, "answer", "actor", i, (i - 1,) if i else (), _before(record, i), answer.text,
             None, None, None)
        for i, answer in enumerate(answers)
    )  # fmt: skip
    replicate = int(record.fact("replicate") or 0)
    stop = str((record.metadata or {}).get("stop_reason", ""))
    oracle = record.fact("oracle") is True
    return SampleResult(sample, replicate, "ok", answers, nodes, stop_reason=stop, oracle=oracle)


def _before(record: _Record, number: int) -> tuple[Message, ...]:
    """Return the conversation up to an answer."""
    attributed, _ = _graded(record)
    turn = attributed[number].turn_idx
    if not record.messages:
        return (Message("user", clean_text(record.input.raw)),)
    return tuple(
        Message(m.role, clean_text(m.content or ""))  # type: ignore[arg-type]  # checked in the next line
        for m in record.messages[:turn]
        if m.role in SPEAKERS
    )


def _answers(record: _Record) -> tuple[AnswerState, ...]:
    """Return the answers; where another tool wrote the record, only the last is known to be right.

    Earlier answers without a grade are left out: nobody may guess them.
    """
    attributed, correct = _graded(record)
    scores, parsed = _listed(record, "score", correct), _listed(record, "parsed", correct)
    truncated, changed = _listed(record, "truncated", correct), _listed(record, "changed", correct)
    gold = clean_text(record.input.reference[0]) if record.input.reference else ""
    states = []
    for i, one in enumerate(attributed):
        known = parsed[i] is not False and (parsed[i] is True or bool(one.extracted_value))
        extracted = clean_text(one.extracted_value) if known else None
        score = scores[i] if scores[i] is not None else record.evaluation.score
        grade = Grade(bool(correct[i]), float(score), extracted, gold)
        text = clean_text(_text(record, one.turn_idx))
        states.append(AnswerState(i, text, bool(truncated[i]), grade, bool(changed[i])))
    return tuple(states)


def _graded(record: _Record) -> tuple[list[_Attribution], list[Any]]:
    """Return the answers whose grades are known, and the grades."""
    attributed, correct = record.answer_attribution, record.fact("correct")
    if isinstance(correct, list) and len(correct) == len(attributed):
        return attributed, correct
    return attributed[-1:], [record.evaluation.is_correct] * len(attributed[-1:])


def _listed(record: _Record, name: str, like: list[Any]) -> list[Any]:
    found = record.fact(name)
    fits = isinstance(found, list) and len(found) == len(like)
    return found if fits else [None] * len(like)


def _text(record: _Record, turn: int) -> str:
    if record.messages and turn < len(record.messages):
        return record.messages[turn].content or ""
    return record.output.raw[0] if record.output and record.output.raw else ""


def _name(aggregate: Mapping[str, Any], path: Path) -> str:
    results = aggregate.get("evaluation_results")
    first = results[0] if isinstance(results, list) and results else {}
    return str(_mapping(first).get("evaluation_name") or path.stem)


def _run(aggregate: Mapping[str, Any]) -> RunInfo:
    model, library = (_mapping(aggregate.get(key)) for key in ("model_info", "eval_library"))
    ours = _mapping(library.get("additional_details"))
    details = _mapping(model.get("additional_details"))
    params, pack = ours.get("params"), ours.get("prompt_pack")
    return RunInfo(
        model=str(model.get("name") or model.get("id") or ""),
        model_source=str(_mapping(model.get("inference_engine")).get("name") or ""),
        evaluator=str(ours.get("evaluator") or library.get("name") or "unknown"),
        evaluator_version=str(ours.get("evaluator_version") or library.get("version") or ""),
        started=_when(aggregate),
        params=json.loads(params) if isinstance(params, str) else {},
        model_sha=str(details.get("commit") or ""),
        model_dtype=str(details.get("dtype") or ""),
        fingerprint=str(details.get("fingerprint") or ""),
        prompt_pack=_mapping(json.loads(pack)) if isinstance(pack, str) else {},
    )


def _when(aggregate: Mapping[str, Any]) -> datetime:
    for key in ("evaluation_timestamp", "retrieved_timestamp"):
        told = str(aggregate.get(key) or "")
        try:
            return datetime.fromtimestamp(float(told), tz=UTC)
        except ValueError:
            pass
        try:
            when = datetime.fromisoformat(told)
        except ValueError:
            continue
        return when if when.tzinfo else when.replace(tzinfo=UTC)
    return datetime.fromtimestamp(0, tz=UTC)


def _info(aggregate: Mapping[str, Any], task: str) -> TaskInfo:
    results = aggregate.get("evaluation_results")
    first = _mapping(results[0] if isinstance(results, list) and results else {})
    grader = _mapping(_mapping(first.get("metric_config")).get("metric_parameters"))
    generation = _mapping(first.get("generation_config"))
    settings = _mapping(generation.get("generation_args"))
    details = _mapping(generation.get("additional_details"))
    shots = str(details.get("num_fewshot", "0"))
    name = str(grader.get("filter") or "none")
    return TaskInfo(
        name=task,
        version=str(details.get("task_version") or ""),
        size=0,
        sampling=Sampling(
            max_tokens=int(settings.get("max_tokens") or Sampling().max_tokens),
            temperature=float(settings.get("temperature") or 0.0),
            top_p=float(settings.get("top_p") or 1.0),
        ),
        metric=str(grader.get("grader") or "score"),
        filter=name,
        threshold=1.0,
        num_fewshot=int(shots) if shots.isdigit() else 0,
        summary="",
        digest=str(details.get("task_digest") or ""),
        filters=(name,),
        config={},
    )


def _mapping(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
