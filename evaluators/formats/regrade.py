"""Stored answers graded again, without the model: what changed, and the results it makes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from evaluators.engine.sample import unchanged
from evaluators.errors import GradeError
from evaluators.formats.results import to_identity
from evaluators.model import AnswerState, Grade, Sample, SampleResult
from evaluators.ports import Task

AT_ONCE = 32
"""Samples that wait for their grades at a time."""


@dataclass(frozen=True, slots=True)
class Change:
    """One answer that is judged otherwise than before."""

    sample: str
    replicate: int
    answer: int
    """From 1."""
    before: Grade
    after: Grade

    @property
    def flipped(self) -> bool:
        """Right became wrong or wrong became right."""
        return self.before.correct != self.after.correct


@dataclass(frozen=True, slots=True)
class Regraded:
    """One task's results under the grader that is installed now."""

    results: tuple[SampleResult, ...]
    changes: tuple[Change, ...]
    failures: tuple[tuple[str, str], ...] = ()
    """Samples that cannot be graded any more, with the reason; their grades stay as they were."""
    reworded: int = 0
    """Samples whose prompt reads otherwise now than when it was put."""

    @property
    def changed_samples(self) -> int:
        """Samples of which anything at all is different."""
        return len({(change.sample, change.replicate) for change in self.changes})


async def regrade(results: Sequence[SampleResult], task: Task) -> Regraded:
    """Grade every stored answer with the task as it is now.

    Text is graded as text and likelihoods as likelihoods; verdicts, facts and costs stay. A sample
    that was never answered stays as it is.
    """
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(result: SampleResult) -> SampleResult | GradeError:
        async with slots:
            return await _graded(result, task)

    async with asyncio.TaskGroup() as group:  # a task that is gone ends them all
        jobs = [group.create_task(one(result)) for result in results]
    made = [job.result() for job in jobs]
    kept = tuple(
        old if isinstance(new, GradeError) else new for old, new in zip(results, made, strict=True)
    )
    failures = tuple(
        (old.sample.id, str(new.data.get("reason") or new))
        for old, new in zip(results, made, strict=True)
        if isinstance(new, GradeError)
    )
    changes = tuple(
        change for old, new in zip(results, kept, strict=True) for change in _changes(old, new)
    )
    asked = {sample.id: sample for sample in await task.samples(_needed(results, task))}
    reworded = sum(_reworded(result, asked.get(result.sample.id)) for result in results)
    return Regraded(kept, changes, failures, reworded)


def identical(left: Sequence[SampleResult], right: Sequence[SampleResult]) -> bool:
    """Tell whether two lists of results are the same but for how long they took."""
    return [to_identity(result) for result in left] == [to_identity(result) for result in right]


def _needed(results: Sequence[SampleResult], task: Task) -> int | None:
    """Return how many of the task's samples have to be rendered to see all that are stored."""
    ids = [result.sample.id for result in results]
    if not ids or not all(name.isascii() and name.isdigit() for name in ids):
        return None
    return min(task.info.size, max(map(int, ids)) + 1)


def _reworded(result: SampleResult, now: Sample | None) -> bool:
    return now is None or now.messages != result.sample.messages


async def _graded(result: SampleResult, task: Task) -> SampleResult | GradeError:
    if not result.answers:
        return result
    answers = [answer.likelihoods or answer.text for answer in result.answers]
    try:
        grades = await task.grade(result.sample.id, answers)
    except GradeError as error:
        return error
    states: list[AnswerState] = []
    for answer, grade in zip(result.answers, grades, strict=True):
        changed = bool(states) and not unchanged(
            states[-1], answer.node, answer.text, extracted=grade.extracted
        )
        states.append(replace(answer, grade=grade, changed=changed))
    return replace(result, answers=tuple(states))


def _changes(old: SampleResult, new: SampleResult) -> list[Change]:
    pairs = enumerate(zip(old.answers, new.answers, strict=True), start=1)
    return [
        Change(old.sample.id, old.replicate, number, before.grade, after.grade)
        for number, (before, after) in pairs
        if _facts(before.grade) != _facts(after.grade)
    ]


def _facts(grade: Grade) -> tuple[object, ...]:
    """Return what counts of a grade: a float that JSON wrote as an integer is the same number."""
    return (
        grade.correct,
        float(grade.score),
        grade.extracted,
        grade.gold,
        dict(grade.scores),
        dict(grade.extractions),
        grade.first_error,
    )
