"""Stored rows read back as the library's nouns, for metrics, exports and checks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from evaluators import model as nouns
from leaderboard.runs.models import AnswerState, Judgement, Node, Run, SampleResult

CRASHED = "sample:app:evaluator-crashed"
MESSAGE_IDS: Mapping[str, str] = {
    "call-refused": "sample:model:call-refused",
    "runtime-unavailable": "sample:app:runtime-unavailable",
    "budget-exceeded": "sample:user:budget-exceeded",
    "grade-error": "sample:data:grade-error",
    "evaluator-crashed": CRASHED,
}
"""The message id of every reason the engine gives for a missing score."""

_LIBRARY_IDS = {ours: theirs for theirs, ours in MESSAGE_IDS.items()}


def read_results(run: Run, task: str | None = None) -> Iterator[nouns.SampleResult]:
    """Read a run's results as the library's nouns, in the order of their tasks."""
    rows = SampleResult.objects.filter(run=run).order_by("task", "position", "replicate")
    if task is not None:
        rows = rows.filter(task=task)
    for row in rows.prefetch_related("nodes", "answers", "judgements").iterator(chunk_size=500):
        yield as_result(
            row, nodes=row.nodes.all(), answers=row.answers.all(), judgements=row.judgements.all()
        )


def as_result(
    row: SampleResult,
    *,
    nodes: Iterable[Node],
    answers: Iterable[AnswerState],
    judgements: Iterable[Judgement],
) -> nouns.SampleResult:
    """Put a result together from its rows."""
    sample = nouns.Sample(
        id=row.sample_id,
        task=row.task,
        messages=_messages(row.sample.get("messages", ())),
        question=_messages(row.sample.get("question", ())),
        cluster=row.cluster,
        choices=tuple(row.sample.get("choices", ())),
        metadata=row.sample.get("metadata", {}),
        given=_given(row.sample.get("given")),
    )
    failure = nouns.Failure(_library_id(row.failure_id), row.failure_detail)
    return nouns.SampleResult(
        sample=sample,
        replicate=row.replicate,
        status=row.status,  # type: ignore[arg-type] # the column's choices are the literal's
        answers=tuple(_state(row, answer) for answer in answers),
        nodes=tuple(_step(node) for node in nodes),
        verdicts=tuple(_verdict(judgement) for judgement in judgements),
        facts=row.facts,
        stop_reason=row.stop_reason,
        failure=failure if row.failure_id else None,
        oracle=row.oracle,
        seconds=row.seconds,
    )


def _given(told: Mapping[str, Any] | None) -> nouns.Given | None:
    if told is None:
        return None
    return nouns.Given(told["text"], tuple(told["steps"]), told["author"])


def _library_id(message_id: str) -> str:
    return _LIBRARY_IDS.get(message_id, "evaluator-crashed")


def _messages(wires: Iterable[Mapping[str, Any]]) -> tuple[nouns.Message, ...]:
    return tuple(nouns.Message(**wire) for wire in wires)


def _step(node: Node) -> nouns.Node:
    sampling = node.sampling
    usage = None
    if node.tokens_in is not None and node.tokens_out is not None:
        usage = nouns.Usage(node.tokens_in, node.tokens_out)
    return nouns.Node(
        idx=node.idx,
        kind=node.kind,  # type: ignore[arg-type] # stored from this very literal
        role=node.role,  # type: ignore[arg-type] # stored from this very literal
        round=node.round,
        parents=tuple(node.parents),
        messages=_messages(node.messages),
        text=node.text,
        finish_reason=node.finish_reason or None,  # type: ignore[arg-type] # as above
        sampling=nouns.Sampling(**{**sampling, "stop": tuple(sampling["stop"])})
        if sampling
        else None,
        usage=usage,
        cached=node.cached,
        agent=node.agent,
        sees_gold=node.sees_gold,
        gated_by_gold=node.gated_by_gold,
        payload=node.payload,
    )


def _state(row: SampleResult, answer: AnswerState) -> nouns.AnswerState:
    grade = nouns.Grade(
        correct=answer.correct,
        score=answer.score,
        extracted=answer.extracted,
        gold=row.gold,
        scores=answer.scores,
        extractions=answer.extractions,
        first_error=answer.first_error,
    )
    return nouns.AnswerState(
        node=answer.node_idx,
        text=answer.text,
        truncated=answer.truncated,
        grade=grade,
        changed=answer.changed,
        likelihoods=tuple(_choice(found) for found in answer.likelihoods),
    )


def _choice(found: Mapping[str, Any]) -> nouns.ChoiceLikelihood:
    return nouns.ChoiceLikelihood(
        text=found["text"],
        logprob=float(found["logprob"]),
        tokens=found["tokens"],
        greedy=found["greedy"],
    )


def _verdict(judgement: Judgement) -> nouns.Verdict:
    return nouns.Verdict(
        answer=judgement.answer_idx,
        value=judgement.value or None,  # type: ignore[arg-type] # stored from this very literal
        node=judgement.node_idx,
        score=judgement.score,
        step=judgement.step,
    )
