"""`grade`: a verdict on each of anyone's answers to mathematical questions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from evaluators.formats.answers import Question
    from evaluators.grading import Verdict


@click.command("grade")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with a summary.")
@click.option(
    "--time-limit",
    type=click.FloatRange(0.1, 600),
    default=3.0,
    show_default=True,
    help="Processor seconds for one answer; what takes longer counts as wrong.",
)
def grade(file: Path, *, as_json: bool, time_limit: float) -> None:
    """Grade answers to mathematical questions that anybody collected.

    FILE holds a JSON object per line: {"prediction": …, "gold": …}; "id" and "choices", the texts
    of a question's options, may be added. `-` reads standard input. Prints a verdict per line.
    """
    from evaluators.formats.answers import read_answers

    graded = _graded(list(read_answers(file)), time_limit=time_limit)
    if not as_json:
        for line in graded:
            print(json.dumps(line.to_json(), ensure_ascii=False))
        return
    lines = list(graded)
    print(json.dumps({"summary": _summary(lines), "verdicts": [g.to_json() for g in lines]}))


@dataclass(frozen=True, slots=True)
class Graded:
    """One line of the file with its verdict."""

    question: Question
    verdict: Verdict

    def to_json(self) -> dict[str, object]:
        """Return the verdict, with the line's id where it has one."""
        given = {} if self.question.id is None else {"id": self.question.id}
        v = self.verdict
        return given | {"correct": v.correct, "extracted": v.extracted, "reason": v.reason}


def _graded(questions: list[Question], *, time_limit: float) -> Iterator[Graded]:
    from evaluators.grading import Grader

    with Grader(limit=time_limit) as grader:
        for q in questions:
            yield Graded(q, grader.grade(q.prediction, q.gold, choices=q.choices))


def _summary(lines: list[Graded]) -> dict[str, object]:
    from evaluators.metrics.estimators import share

    verdicts = [line.verdict.correct for line in lines]
    known = [v for v in verdicts if v is not None]
    unread = sum(line.verdict.correct is False and line.verdict.extracted is None for line in lines)
    accuracy = share(sum(known), len(known), n_total=len(lines), empty="no answer was graded")
    return {
        "n": len(known),
        "n_total": len(lines),
        "correct": sum(known),
        "without_answer": unread,
        "accuracy": accuracy.to_json(),
    }
