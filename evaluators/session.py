"""One evaluation from names to results, without a server: what `run` and notebooks call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evaluators.engine import Limits, SharedModel, evaluate
from evaluators.errors import BadModel, first_error
from evaluators.evaluator import Evaluator
from evaluators.model import Sample, SampleResult
from evaluators.ports import Model, Sink, Task, TaskInfo
from evaluators.runtimes import ModelInfo, ModelSpec, open_runtime
from evaluators.tasks import TaskSpec, open_tasks

CHAT = "chat"
"""The capability that a chat template gives."""


@dataclass(frozen=True, slots=True)
class Method:
    """An evaluator with its checked parameters."""

    evaluator: Evaluator
    params: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The evaluator's name."""
        return self.evaluator.name


@dataclass(frozen=True, slots=True)
class Plan:
    """What to evaluate, with what, on what."""

    model: ModelSpec
    methods: tuple[Method, ...]
    tasks: tuple[TaskSpec, ...]
    task_limits: Mapping[str, int | None] = field(default_factory=dict)
    """Samples per task; a task that is not named is taken whole."""
    seed: int = 0
    limits: Limits = field(default_factory=Limits)
    include_paths: tuple[Path, ...] = ()
    """Further folders of task YAML."""


@dataclass(frozen=True, slots=True)
class Part:
    """One method on one task: what results are grouped by."""

    method: Method
    task: TaskInfo
    planned: int
    """Samples that will be worked on."""


@dataclass(frozen=True, slots=True)
class Report:
    """What an evaluation came to."""

    model: ModelInfo
    fingerprint: str
    results: Mapping[tuple[str, str], tuple[SampleResult, ...]]
    """Results in task order by (evaluator, task)."""
    tasks: Mapping[str, TaskInfo]


class Watcher:
    """Told what happens while an evaluation runs; override what is of interest."""

    def stage(self, text: str) -> None:
        """Take note that a long step begins."""

    def planned(self, parts: Sequence[Part]) -> None:
        """Take note of all that will be done."""

    async def result(self, part: Part, result: SampleResult) -> None:
        """Take one finished sample."""


def without_chat(plan: Plan) -> Plan:
    """Return the plan for a model without a chat template: prompts as lm-eval sends them plain.

    Raises:
        BadModel: A method needs later turns, which only a chat template can render.
    """
    everything_else = frozenset().union(*(method.evaluator.requires for method in plan.methods))
    require_capabilities(plan, everything_else - {CHAT})
    return replace(plan, tasks=tuple(replace(task, chat=False) for task in plan.tasks))


async def run_plan(plan: Plan, watcher: Watcher | None = None) -> Report:
    """Start the runtime, run every method on every task, stop the runtime.

    All methods run side by side on one runtime, so that equal calls are made once and the tail of
    one fills with the head of the next.

    Raises:
        InputError: A task, a limit or the model is not usable; nothing was evaluated.
        RuntimeUnavailable: The runtime died on the way.
    """
    watcher = watcher or Watcher()
    async with AsyncExitStack() as stack:
        watcher.stage("Loading tasks")
        tasks = await stack.enter_async_context(
            open_tasks(plan.tasks, include_paths=plan.include_paths)
        )
        samples = {
            name: await task.samples(plan.task_limits.get(name)) for name, task in tasks.items()
        }
        watcher.stage(f"Starting {plan.model.label}")
        running = await stack.enter_async_context(open_runtime(plan.model))
        require_capabilities(plan, running.capabilities)
        found = await _run_parts(plan, tasks, samples, model=running, watcher=watcher)
        watcher.stage("Evaluated; stopping the runtime")
        infos = {name: task.info for name, task in tasks.items()}
        return Report(running.info, running.fingerprint, found, infos)


def require_capabilities(plan: Plan, capabilities: frozenset[str]) -> None:
    """Refuse methods that need what the model or its runtime lacks, before anything is generated.

    Raises:
        BadModel: A method needs more; the reason names both.
    """
    for method in plan.methods:
        lacking = sorted(method.evaluator.requires - capabilities)
        if CHAT in lacking:
            reason = f"it has no chat template, which {method.name} needs for its later turns"
            raise BadModel(model=plan.model.label, reason=reason)
        if lacking:
            reason = f"its runtime lacks {', '.join(lacking)}, which {method.name} needs"
            raise BadModel(model=plan.model.label, reason=reason)


async def _run_parts(
    plan: Plan,
    tasks: Mapping[str, Task],
    samples: Mapping[str, Sequence[Sample]],
    *,
    model: Model,
    watcher: Watcher,
) -> dict[tuple[str, str], tuple[SampleResult, ...]]:
    shared = SharedModel(model, in_flight=max(64, 4 * plan.model.batch_size))
    parts = [
        Part(method, task.info, len(samples[name]))
        for method in plan.methods
        for name, task in tasks.items()
    ]
    watcher.planned(parts)
    found: dict[tuple[str, str], list[SampleResult]] = {}

    async def run(part: Part) -> None:
        results = found[part.method.name, part.task.name] = []
        await evaluate(
            part.method.evaluator,
            part.method.params,
            task=tasks[part.task.name],
            samples=samples[part.task.name],
            models={"actor": shared},
            sink=_sink(part, results, watcher.result),
            seed=plan.seed,
            limits=plan.limits,
        )

    try:
        async with asyncio.TaskGroup() as group:  # a dead runtime ends them all
            for part in parts:
                group.create_task(run(part))
    except BaseExceptionGroup as errors:
        raise first_error(errors) from errors
    return {key: _in_order(results, samples[key[1]]) for key, results in found.items()}


def _sink(
    part: Part,
    results: list[SampleResult],
    tell: Callable[[Part, SampleResult], Awaitable[None]],
) -> Sink:
    async def keep(result: SampleResult) -> None:
        results.append(result)
        await tell(part, result)

    return keep


def _in_order(results: list[SampleResult], samples: Sequence[Sample]) -> tuple[SampleResult, ...]:
    place = {sample.id: number for number, sample in enumerate(samples)}
    return tuple(sorted(results, key=lambda result: (place[result.sample.id], result.replicate)))
