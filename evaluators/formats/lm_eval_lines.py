"""From lm-eval's sample lines, of any of its versions, to graded answers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from evaluators.answers import same_answer
from evaluators.formats.lm_eval_rows import INVALID
from evaluators.formats.results import clean_text
from evaluators.model import (
    AnswerState,
    ChoiceLikelihood,
    Given,
    Grade,
    Message,
    Node,
    Sample,
    SampleResult,
)

SPEAKERS = frozenset({"system", "user", "assistant"})


class Line(BaseModel):
    """One line: one document under one filter. Metrics stand beside these fields by name."""

    model_config = ConfigDict(extra="allow")

    doc_id: int | str
    doc: Any = None
    target: Any = None
    arguments: dict[str, Any] | list[Any]
    resps: list[Any]
    filtered_resps: list[Any]
    filter: str = "none"
    """lm-eval before 0.4.3 names none."""
    metrics: list[str] | None = None
    doc_hash: str = ""
    prompt_hash: str = ""
    target_hash: str = ""
    round: int = 1
    role: str = ""
    replicate: int = 0
    evaluator: str = ""
    evaluator_version: str = ""
    prev_correct: bool | None = None
    first_error: int | None = None
    critiques: list[str] = []

    @property
    def key(self) -> tuple[str, int]:
        """Document and replicate."""
        return str(self.doc_id), self.replicate

    @property
    def requests(self) -> list[tuple[object, object]]:
        """What was asked: context and settings, or context and continuation."""
        plain = self.arguments
        asked = list(plain.values()) if isinstance(plain, dict) else plain
        pairs = [list(one.values()) if isinstance(one, dict) else list(one) for one in asked]
        return [(pair[0], pair[1] if len(pair) > 1 else "") for pair in pairs if pair]

    @property
    def scores(self) -> dict[str, float]:
        """The metrics that are one number per document."""
        extra = self.model_extra or {}
        names = self.metrics if self.metrics is not None else list(extra)
        found = {name: _number(extra.get(name)) for name in names}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Reading:
    """How one task's lines are to be understood."""

    task: str
    metric: str
    filter: str
    threshold: float = 1.0


def to_result(rounds: Sequence[Mapping[str, Line]], reading: Reading) -> SampleResult:
    """Return the sample that lines of one document tell of.

    Args:
        rounds: For every answer, first to last, its lines by filter.
        reading: What the primary metric and filter are.
    """
    first = next(iter(rounds[0].values()))
    nodes: list[Node] = []
    answers: list[AnswerState] = []
    for number, lines in enumerate(rounds):
        line = lines.get(reading.filter) or next(iter(lines.values()))
        answer = _answer(lines, line, reading=reading, number=number)
        changed = bool(answers) and not same_answer(
            answers[-1].grade.extracted, answer.grade.extracted
        )
        shown = _messages(line.requests[0][0] if line.requests else "")
        nodes.append(
            Node(number, "answer", "actor", number, _before(number), shown, answer.text,
                 None, None, None)
        )  # fmt: skip
        answers.append(_changed(answer, changed))
    sample = _sample(first, reading.task, choices=[c.text for c in answers[0].likelihoods])
    return SampleResult(sample, first.replicate, "ok", tuple(answers), tuple(nodes))


def _before(number: int) -> tuple[int, ...]:
    return (number - 1,) if number else ()


def _changed(answer: AnswerState, changed: bool) -> AnswerState:
    return AnswerState(
        answer.node, answer.text, answer.truncated, answer.grade, changed, answer.likelihoods
    )


def _sample(line: Line, task: str, *, choices: Iterable[str]) -> Sample:
    messages = _messages(line.requests[0][0] if line.requests else "")
    question = tuple(message for message in messages[-1:] if message.role == "user") or messages
    doc = line.doc if isinstance(line.doc, Mapping) else {}
    plain = {
        clean_text(str(key)): value
        for key, value in doc.items()
        if key != "id" and isinstance(value, str | int | float | bool) and _sayable(value)
    }
    return Sample(
        str(line.doc_id),
        task,
        messages,
        question,
        choices=tuple(choices),
        metadata=plain,
        given=_given(doc.get("given")),
    )


def _given(told: object) -> Given | None:
    """Return the solution that our own rows hold; whatever else stands there is another's field."""
    match told:
        case {"text": str(text), "steps": list(steps), "author": str(author)}:
            return Given(clean_text(text), tuple(clean_text(str(s)) for s in steps), author)
    return None


def _sayable(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _answer(lines: Mapping[str, Line], line: Line, *, reading: Reading, number: int) -> AnswerState:
    choices = _likelihoods(line)
    extractions = {name: _extracted(other, choices) for name, other in lines.items()}
    scores = {
        f"{metric},{name}": value
        for name, other in lines.items()
        for metric, value in other.scores.items()
    }
    score = line.scores[reading.metric]
    best = max(choices, key=lambda choice: choice.logprob) if choices else None
    return AnswerState(
        node=number,
        text=clean_text(best.text if best else _text(line.resps)),
        truncated=False,
        grade=Grade(
            correct=score >= reading.threshold,
            score=score,
            extracted=extractions[line.filter],
            gold=clean_text(_gold(line.target, choices)),
            scores=scores,
            extractions=extractions,
            first_error=line.first_error,
        ),
        likelihoods=choices,
    )


def _gold(target: object, choices: Sequence[ChoiceLikelihood]) -> str:
    """Return the expected answer; where choices are scored, lm-eval gives its place."""
    text = target if isinstance(target, str) else json.dumps(target, default=str)
    if choices and text.isdigit() and int(text) < len(choices):
        return choices[int(text)].text.strip()
    return text


def _likelihoods(line: Line) -> tuple[ChoiceLikelihood, ...]:
    """Return what the choices' log-likelihoods were; empty where text was generated.

    Some metrics ask for every choice a second time without the question; those are left out.
    """
    requests = line.requests
    found = []
    for (context, choice), replies in zip(requests, line.resps, strict=False):
        pair = replies[0] if isinstance(replies, list) and replies else None
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(choice, str):
            return ()
        logprob = _number(pair[0])
        if context == requests[0][0] and logprob is not None:
            found.append(ChoiceLikelihood(clean_text(choice), logprob, 0, str(pair[1]) == "True"))
    return tuple(found)


def _extracted(line: Line, choices: Sequence[ChoiceLikelihood]) -> str | None:
    if choices:
        return max(choices, key=lambda choice: choice.logprob).text.strip()
    text = clean_text(_text(line.filtered_resps))
    return None if not text.strip() or text == INVALID else text


def _text(replies: object) -> str:
    """Return the first reply; lm-eval's repeats count as one."""
    while isinstance(replies, list):
        replies = replies[0] if replies else ""
    return replies if isinstance(replies, str) else json.dumps(replies, default=str)


def _number(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, bool | int | float | str) else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _messages(context: object) -> tuple[Message, ...]:
    """Return a prompt as messages: a chat that was logged as JSON, or one text."""
    while isinstance(context, list) and len(context) == 1 and isinstance(context[0], str | list):
        (context,) = context
    chat = context
    if isinstance(context, str) and context.startswith("["):
        try:
            chat = json.loads(context)
        except ValueError:
            chat = context
    if isinstance(chat, list) and chat and all(_is_message(item) for item in chat):
        return tuple(Message(item["role"], clean_text(item["content"])) for item in chat)
    text = context if isinstance(context, str) else json.dumps(context, default=str)
    return (Message("user", clean_text(text)),)


def _is_message(item: object) -> bool:
    return (
        isinstance(item, dict)
        and item.get("role") in SPEAKERS
        and isinstance(item.get("content"), str)
    )
