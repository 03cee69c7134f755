"""Results as rows: what is stored is what is hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from evaluators import model as nouns
from evaluators.formats.results import clean_text, to_line
from leaderboard.runs.models import AnswerState, Judgement, Node, SampleResult
from leaderboard.runs.services.reading import CRASHED, MESSAGE_IDS, as_result

TEXT_BYTES = 1024 * 1024
"""UTF-8 bytes of one text that are kept."""


def storable(text: str) -> str:
    """Return a text as PostgreSQL keeps it: no NUL, no half of a surrogate pair, 1 MiB at most."""
    text = clean_text(text)
    if not is_clipped(text):
        return text
    return text.encode()[:TEXT_BYTES].decode(errors="ignore")


def is_clipped(text: str) -> bool:
    """Tell whether a text is longer than what is kept of it."""
    return len(text) > TEXT_BYTES or (
        len(text) * 4 > TEXT_BYTES and len(text.encode(errors="replace")) > TEXT_BYTES
    )


def storable_json(value: Any) -> Any:
    """Return a JSON value as PostgreSQL gives it back: storable texts, whole numbers as such."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case str():
            return storable(value)
        case Mapping():
            return {storable(str(key)): storable_json(entry) for key, entry in value.items()}
        case list() | tuple():
            return [storable_json(entry) for entry in value]
        case float() if value.is_integer():
            return int(value)  # the database gives 1e20 back as this
        case _:
            return value


@dataclass(frozen=True, slots=True)
class Prepared:
    """A result as rows, not yet in the database."""

    result: SampleResult
    nodes: tuple[Node, ...]
    answers: tuple[AnswerState, ...]
    judgements: tuple[Judgement, ...]

    @property
    def key(self) -> tuple[str, int]:
        """What makes the row the only one of its run and task."""
        return (self.result.sample_id, self.result.replicate)

    @property
    def parts(self) -> tuple[Node | AnswerState | Judgement, ...]:
        """All rows that hang on the result's."""
        return (*self.nodes, *self.answers, *self.judgements)


def prepare(found: nouns.SampleResult, *, position: int) -> Prepared:
    """Turn a finished sample into rows; whose they are is filled in by the commit.

    What an evaluator put into facts or payloads that JSON cannot say costs the sample its score.
    """
    try:
        return _prepare(found, position)
    except (TypeError, ValueError) as error:
        return _prepare(_unstorable(found, error), position)


def _prepare(found: nouns.SampleResult, position: int) -> Prepared:
    row = SampleResult(
        task=found.sample.task,
        sample_id=storable(found.sample.id),
        position=position,
        replicate=found.replicate,
        cluster=storable(found.sample.cluster)[:200],
        status=found.status,
        sample=_sample_json(found.sample),
        question=storable("\n\n".join(m.content for m in found.sample.question)),
        calls=found.calls,
        tokens_in=found.tokens_in,
        tokens_out=found.tokens_out,
        tokens_computed=found.tokens_computed,
        seconds=found.seconds,
        oracle=found.oracle,
        stop_reason=storable(found.stop_reason)[:100],
        facts=storable_json(dict(found.facts)),
        **_ending(found),
        **_failure(found.failure),
    )
    nodes = tuple(_node(row, node) for node in found.nodes)
    answers = tuple(_answer(row, idx, state) for idx, state in enumerate(found.answers))
    judgements = tuple(_judgement(row, idx, v) for idx, v in enumerate(found.verdicts))
    stored = as_result(row, nodes=nodes, answers=answers, judgements=judgements)
    row.row_hash = row_hash(stored)
    return Prepared(row, nodes, answers, judgements)


def row_hash(stored: nouns.SampleResult) -> str:
    """Return the sha256 of a result as it is stored, without times and without who computed it."""
    return hashlib.sha256(to_line(stored, identity=True).encode()).hexdigest()


def _unstorable(found: nouns.SampleResult, error: Exception) -> nouns.SampleResult:
    reason = f"what the evaluator returned cannot be stored: {error}"
    sample = replace(found.sample, metadata={})
    failure = nouns.Failure("evaluator-crashed", reason)
    return nouns.SampleResult(
        sample, found.replicate, "unscored", failure=failure, oracle=found.oracle
    )


def _sample_json(sample: nouns.Sample) -> dict[str, Any]:
    given = {} if sample.given is None else {"given": storable_json(asdict(sample.given))}
    return {
        "messages": [_wire(message) for message in sample.messages],
        "question": [_wire(message) for message in sample.question],
        "choices": [storable(choice) for choice in sample.choices],
        "metadata": storable_json(dict(sample.metadata)),
        **given,
    }


def _wire(message: nouns.Message) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": message.role, "content": storable(message.content)}
    if message.node is not None:
        wire["node"] = message.node
    if message.prompt:
        wire["prompt"] = message.prompt
    return wire


def _ending(found: nouns.SampleResult) -> dict[str, Any]:
    """Return what the first and last answers say of a scored sample."""
    if found.status != "ok" or not found.answers:
        return {"parsed": False}
    first, last = found.answers[0], found.answers[-1]
    letters = {True: "c", False: "i"}
    return {
        "flip": letters[first.grade.correct] + letters[last.grade.correct],
        "changed": any(state.changed for state in found.answers),
        "truncated": any(state.truncated for state in found.answers),
        "parsed": last.grade.extracted is not None,
        "gold": storable(last.grade.gold),
    }


def _failure(failure: nouns.Failure | None) -> dict[str, str]:
    if failure is None:
        return {}
    error = MESSAGE_IDS.get(failure.error, CRASHED)
    return {"failure_id": error, "failure_detail": storable(failure.detail)}


def _node(row: SampleResult, node: nouns.Node) -> Node:
    usage = node.usage
    return Node(
        result=row,
        idx=node.idx,
        kind=node.kind,
        role=node.role,
        round=node.round,
        agent=storable(node.agent)[:64],
        parents=list(node.parents),
        messages=[_wire(message) for message in node.messages],
        text=storable(node.text),
        clipped=is_clipped(node.text) or any(is_clipped(m.content) for m in node.messages),
        finish_reason=node.finish_reason or "",
        sampling=storable_json(asdict(node.sampling)) if node.sampling else None,
        tokens_in=usage.prompt_tokens if usage else None,
        tokens_out=usage.completion_tokens if usage else None,
        cached=node.cached,
        sees_gold=node.sees_gold,
        gated_by_gold=node.gated_by_gold,
        payload=storable_json(dict(node.payload)),
    )


def _answer(row: SampleResult, idx: int, state: nouns.AnswerState) -> AnswerState:
    grade = state.grade
    return AnswerState(
        result=row,
        idx=idx,
        node_idx=state.node,
        text=storable(state.text),
        clipped=is_clipped(state.text),
        extracted=None if grade.extracted is None else storable(grade.extracted),
        correct=grade.correct,
        score=grade.score,
        truncated=state.truncated,
        changed=state.changed,
        scores=storable_json(dict(grade.scores)),
        extractions=storable_json(dict(grade.extractions)),
        likelihoods=[storable_json(asdict(choice)) for choice in state.likelihoods],
        first_error=grade.first_error,
    )


def _judgement(row: SampleResult, idx: int, verdict: nouns.Verdict) -> Judgement:
    return Judgement(
        result=row,
        idx=idx,
        answer_idx=verdict.answer,
        node_idx=verdict.node,
        value=verdict.value or "",
        score=verdict.score,
        step=verdict.step,
    )
