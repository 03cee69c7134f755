"""Runs an evaluator over samples: every sample is its own coroutine, none waits for a round."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from evaluators.context import FREE_TEXT_TOKENS, Allowance, Context
from evaluators.engine.sample import work_on
from evaluators.errors import RuntimeUnavailable, first_error
from evaluators.evaluator import Evaluator
from evaluators.model import ModelRole, Sample, SampleResult
from evaluators.ports import Model, Sink, Task
from evaluators.strategies.prompts import Replacements

GIVE_UP_AFTER = 3
"""Infrastructure errors in a row, with no call answered between them, that mean a dead model."""

ENDPOINT_SECONDS = 600.0
"""How long an endpoint may take over one sample that has it to itself."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one evaluation may use; None is no limit."""

    in_flight: int = 16
    """Samples worked on at once."""
    max_calls: int | None = None
    """Model calls per sample."""
    max_tokens: int | None = None
    """Generated tokens per sample."""
    sample_seconds: float | None = None
    """Wall time per sample."""
    free_text_tokens: int = FREE_TEXT_TOKENS
    """Generated tokens of a call that is no answer, unless the evaluator sets a limit."""

    def patient_with(self, endpoints: Sequence[int], *, at_once: int = 1) -> Limits:
        """Return the limits with a deadline per sample, where somebody's endpoints answer.

        It is longer where more samples are in flight than an endpoint takes calls: they queue.

        Args:
            endpoints: How many calls each endpoint takes at a time; with none nothing changes.
            at_once: Evaluations that share the endpoints.
        """
        if not endpoints or self.sample_seconds is not None:
            return self
        queue = max(at_once * self.in_flight / calls for calls in endpoints)
        return replace(self, sample_seconds=ENDPOINT_SECONDS * max(1.0, queue))


@dataclass(slots=True)
class _Progress:
    samples: Iterator[tuple[Sample, int]]
    failures_in_a_row: int = 0
    answered: int = 0
    """Calls that models have answered for finished samples."""
    answered_before: int = 0
    """Calls that had been answered when a sample failed last."""
    open: list[Context] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Job:
    evaluator: Evaluator
    params: Mapping[str, object]
    task: Task
    models: Mapping[ModelRole, Model]
    sink: Sink
    seed: int
    limits: Limits
    prompts: Replacements
    progress: _Progress = field(compare=False)


async def evaluate(
    evaluator: Evaluator,
    params: Mapping[str, object],
    *,
    task: Task,
    samples: Sequence[Sample],
    models: Mapping[ModelRole, Model],
    sink: Sink,
    seed: int = 0,
    replicates: int = 1,
    limits: Limits | None = None,
    prompts: Replacements = MappingProxyType({}),
) -> None:
    """Run an evaluator over samples and hand each finished one to the sink at once.

    A sample that fails is a result with its reason, and the others go on. Results do not depend
    on the order in which samples finish, on how many are in flight, or on interruptions.

    Args:
        evaluator: What to run.
        params: Its parameters; checked again here.
        task: The task that the samples belong to; grades their answers.
        samples: What to work on, usually those that have no stored result yet.
        models: Who answers; `actor` must be among them.
        sink: Takes results; raising in it stops the run and cancels what is in flight.
        seed: Root of all seeds.
        replicates: Independent trajectories per sample.
        limits: Bounds on what a sample and the run may use.
        prompts: Those of a prompt pack, which stand in for the evaluator's own.

    Raises:
        BadParameter: A parameter is unknown, of the wrong type or out of range.
        RuntimeUnavailable: The model is gone; samples without a result must be made again.
    """
    limits = limits or Limits()
    work = ((sample, replicate) for sample in samples for replicate in range(replicates))
    bound, progress = evaluator.bind(params), _Progress(work)
    job = _Job(evaluator, bound, task, models, sink, seed, limits, prompts, progress)
    lanes = min(limits.in_flight, len(samples) * replicates)
    try:
        async with asyncio.TaskGroup() as group:  # the first error cancels every other lane
            for _ in range(lanes):
                group.create_task(_lane(job))
    except BaseExceptionGroup as errors:
        raise first_error(errors) from errors


async def _lane(job: _Job) -> None:
    """Work on one sample after the other until none is left."""
    for sample, replicate in job.progress.samples:
        result = await _finish(job, sample, replicate)
        await job.sink(result)
        _watch(job.progress, result)


async def _finish(job: _Job, sample: Sample, replicate: int) -> SampleResult:
    progress = job.progress
    context = Context(
        sample,
        models=job.models,
        task=job.task,
        seed=job.seed,
        replicate=replicate,
        allowance=Allowance(job.limits.max_calls, job.limits.max_tokens),
        free_text_tokens=job.limits.free_text_tokens,
    )
    progress.open.append(context)
    try:
        return await work_on(
            context,
            job.evaluator,
            job.params,
            task=job.task,
            seconds=job.limits.sample_seconds,
            prompts=job.prompts,
        )
    finally:
        progress.open.remove(context)
        progress.answered += _answered(context)


def _answered(context: Context) -> int:
    """Count the calls that a model has really answered: stored answers prove nothing."""
    return sum(node.usage is not None and not node.cached for node in context.nodes)


def _watch(progress: _Progress, result: SampleResult) -> None:
    """Notice when nothing goes through any more.

    Raises:
        RuntimeUnavailable: Too many samples in a row met a dead runtime.
    """
    if result.status != "infra_error":
        progress.failures_in_a_row = 0
        return
    answered = progress.answered + sum(map(_answered, progress.open))
    if answered > progress.answered_before:  # by samples that failed later, or are not finished
        progress.answered_before, progress.failures_in_a_row = answered, 0
    progress.failures_in_a_row += 1
    if progress.failures_in_a_row >= GIVE_UP_AFTER:
        detail = result.failure.detail if result.failure else ""
        raise RuntimeUnavailable(reason=detail)
