"""One sample from its first call to its graded result, errors attributed to whoever caused them."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType

from evaluators.answers import same_answer
from evaluators.context import Context, gradable, require_outcome
from evaluators.engine.lanes import in_lanes
from evaluators.errors import (
    BudgetExceeded,
    EvaluatorError,
    GradeError,
    RedraftError,
    RuntimeUnavailable,
    SampleError,
    first_error,
)
from evaluators.evaluator import Evaluator
from evaluators.model import Answer, AnswerState, Failure, Outcome, Reply, SampleResult
from evaluators.ports import Task
from evaluators.strategies.prompts import Replacements, replaced

TRACEBACK_LINES = 6
"""How much of a plugin's traceback is kept: its end names the place."""


@asynccontextmanager
async def boundary(evaluator: str) -> AsyncIterator[None]:
    """Attribute whatever the plugin raises to the plugin; pass on errors that have an owner.

    A `TaskGroup` inside a plugin wraps what happened in it; the first error inside counts.

    Raises:
        EvaluatorError: The plugin raised; the reason holds the end of its traceback.
    """
    try:
        yield
    except (RedraftError, asyncio.CancelledError, TimeoutError):
        raise
    except BaseExceptionGroup as group:
        owned, other = group.split(RedraftError)
        if owned is not None and other is None:
            raise first_error(owned) from group
        raise _attributed(evaluator, group) from group
    except Exception as error:
        raise _attributed(evaluator, error) from error


async def work_on(
    context: Context,
    evaluator: Evaluator,
    params: Mapping[str, object],
    *,
    task: Task,
    seconds: float | None,
    prompts: Replacements = MappingProxyType({}),
) -> SampleResult:
    """Run the evaluator on the context's sample and grade every answer.

    Args:
        context: Fresh, for this sample and replicate.
        evaluator: What to run.
        params: Checked parameters.
        task: Grades the answers.
        seconds: Deadline for the sample; None is none.
        prompts: What stands in for the evaluator's own prompts.
    """
    started = time.monotonic()
    outcome: Outcome | None = None
    try:
        async with asyncio.timeout(seconds) as deadline:
            async with boundary(evaluator.name):
                with replaced(prompts):  # tasks that the method starts inherit it
                    outcome = await evaluator(context, context.sample, **params)
                require_outcome(evaluator.name, outcome)
            answers = await _grade(context, task, outcome.answers)
    except TimeoutError:
        return _failed(context, started, _timed_out(evaluator.name, deadline, seconds))
    except SampleError as error:
        return _failed(context, started, error)
    result = SampleResult(
        sample=context.sample,
        replicate=context.replicate,
        status="ok",
        answers=answers,
        nodes=tuple(context.nodes),
        verdicts=tuple(outcome.verdicts),
        facts=dict(outcome.facts),
        stop_reason=outcome.stop_reason,
        oracle=context.used_oracle,
        seconds=time.monotonic() - started,
    )
    return in_lanes(result)


async def _grade(
    context: Context, task: Task, answers: Sequence[Reply | Answer]
) -> tuple[AnswerState, ...]:
    grades = await task.grade(context.sample.id, [gradable(answer) for answer in answers])
    if len(grades) != len(answers):
        raise GradeError(
            task=context.sample.task, reason=f"{len(grades)} grades for {len(answers)} answers"
        )
    finishes = {node.idx: node.finish_reason for node in context.nodes}
    states: list[AnswerState] = []
    for answer, grade in zip(answers, grades, strict=True):
        states.append(
            AnswerState(
                node=answer.node,
                text=answer.text,
                truncated=finishes.get(answer.node) == "length",
                grade=grade,
                changed=bool(states)
                and not unchanged(states[-1], answer.node, answer.text, extracted=grade.extracted),
                likelihoods=answer.likelihoods if isinstance(answer, Answer) else (),
            )
        )
    return tuple(states)


def unchanged(before: AnswerState, node: int, text: str, *, extracted: str | None) -> bool:
    """Tell whether an answer is the one before it; two that cannot be extracted never are.

    One that a method hands back a second time has not changed, whatever can be extracted from it.

    Args:
        before: The answer before it.
        node, text, extracted: Where the answer stands, what it says, and what the task reads in it.
    """
    if (before.node, before.text) == (node, text):
        return True
    return same_answer(before.grade.extracted, extracted)


def _failed(context: Context, started: float, error: SampleError) -> SampleResult:
    infrastructure = isinstance(error, RuntimeUnavailable)
    return SampleResult(
        sample=context.sample,
        replicate=context.replicate,
        status="infra_error" if infrastructure else "unscored",
        nodes=tuple(context.nodes),
        failure=Failure(error.id, str(error.data.get("reason") or error)),
        oracle=context.used_oracle,
        seconds=time.monotonic() - started,
    )


def _timed_out(name: str, deadline: asyncio.Timeout, seconds: float | None) -> SampleError:
    """Tell our deadline from a timeout that the plugin itself let through."""
    if deadline.expired():
        return BudgetExceeded(kind="seconds", value=seconds, limit=seconds)
    return EvaluatorError(evaluator=name, reason="TimeoutError raised by the evaluator")


def _attributed(evaluator: str, error: BaseException) -> EvaluatorError:
    frames = traceback.format_exception(error)[-TRACEBACK_LINES:]
    return EvaluatorError(evaluator=evaluator, reason="".join(frames).strip())
