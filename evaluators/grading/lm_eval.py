"""What a task's YAML may name: a filter and a scorer for mathematical answers.

filter_list:
  - name: final-answer
    filter:
      - function: custom
        filter_fn: !function evaluators.grading.lm_eval.final_answers
      - function: take_first
process_results: !function evaluators.grading.lm_eval.process_results
metric_list:
  - {metric: math_correct, aggregation: mean, higher_is_better: true}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from evaluators.errors import GradeError
from evaluators.grading.maths import LETTERS, extract
from evaluators.grading.process import shared

INVALID = "[invalid]"
"""What lm-eval's filters return when they find nothing."""

GOLD_KEYS = ("gold", "gt", "answer", "target", "solution")
"""Where a document's gold answer is looked for, in this order."""


class FinalAnswer(str):
    """What `final_answers` took out of a response, in which nothing is to be looked for again."""

    __slots__ = ()


def process_results(doc: Mapping[str, object], results: Sequence[str]) -> dict[str, float]:
    """Score an answer against the document's gold answer.

    Raises:
        GradeError: The document has no gold answer to grade against.
    """
    answer = "" if results[0] == INVALID else results[0]
    alone = isinstance(answer, FinalAnswer)
    verdict = shared().grade(answer, gold_of(doc), choices=choices_of(doc), alone=alone)
    if verdict.correct is None:
        raise GradeError(task="math_correct", reason=verdict.reason)
    return {"math_correct": float(verdict.correct)}


def final_answers(
    responses: Iterable[Sequence[str]], docs: Iterable[Mapping[str, object]]
) -> list[list[str]]:
    """Take the final answer out of every response; a `filter_fn` of lm-eval's `custom` filter."""
    return [
        [_extracted(text, doc) for text in texts]
        for texts, doc in zip(responses, docs, strict=False)
    ]


def _extracted(text: str, doc: Mapping[str, object]) -> str:
    gold = gold_of(doc).strip("() ")
    lettered = len(gold) == 1 and gold in LETTERS
    found = extract(text, choices=choices_of(doc), lettered=lettered)
    return FinalAnswer(found) if found else INVALID


def gold_of(doc: Mapping[str, object]) -> str:
    """Return the gold answer of a document; empty where it has none."""
    found = (doc[key] for key in GOLD_KEYS if isinstance(doc.get(key), str | int | float))
    return str(next(found, ""))


def choices_of(doc: Mapping[str, object]) -> tuple[str, ...]:
    """Return the texts of a document's options, as a list or as ARC's `{text, label}`."""
    choices = doc.get("choices")
    texts = choices.get("text") if isinstance(choices, Mapping) else choices
    return tuple(map(str, texts)) if isinstance(texts, list | tuple) else ()
