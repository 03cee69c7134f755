"""One evaluation from names to results, without a server: what `run` and notebooks call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evaluators.engine import Limits, SharedModel, evaluate
from evaluators.errors import BadModel, BadTask, first_error
from evaluators.evaluator import Evaluator
from evaluators.model import ModelRole, Sample, SampleResult
from evaluators.ports import Model, Sink, Task, TaskInfo
from evaluators.runtimes import EgressPolicy, ModelInfo, ModelSpec, RunningModel, open_runtime
from evaluators.tasks import TaskSpec, open_tasks

CHARACTERS_PER_TOKEN = 3
"""A cautious reckoning of what a tokenizer makes of a prompt, before there is one to ask."""

TURNS = 4
"""Answers, and texts about them, that a conversation is reckoned to hold."""

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
    roles: Mapping[ModelRole, ModelSpec] = field(default_factory=dict)
    """Models that play other roles than the actor's; a role that is not named is the actor's."""
    replicates: int = 1
    """Independent trajectories per sample."""


@dataclass(frozen=True, slots=True)
class Part:
    """One method on one task: what results are grouped by."""

    method: Method
    task: TaskInfo
    planned: int
    """Trajectories that will be made."""


@dataclass(frozen=True, slots=True)
class Report:
    """What an evaluation came to."""

    model: ModelInfo
    fingerprint: str
    results: Mapping[tuple[str, str], tuple[SampleResult, ...]]
    """Results in task order by (evaluator, task)."""
    tasks: Mapping[str, TaskInfo]
    roles: Mapping[ModelRole, ModelInfo] = field(default_factory=dict)
    """The models that played other roles than the actor's."""


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
        require_modes(plan.methods, [task.info for task in tasks.values()])
        needed = _tokens_needed(tasks, samples)
        running = await _start(plan, stack, watcher, needed_tokens=needed)
        require_capabilities(plan, running["actor"].capabilities)
        found = await _run_parts(plan, tasks, samples, models=running, watcher=watcher)
        watcher.stage("Evaluated; stopping the runtime")
        infos = {name: task.info for name, task in tasks.items()}
        actor = running.pop("actor")
        roles = {role: model.info for role, model in running.items()}
        return Report(actor.info, actor.fingerprint, found, infos, roles)


async def _start(
    plan: Plan, stack: AsyncExitStack, watcher: Watcher, *, needed_tokens: int
) -> dict[ModelRole, RunningModel]:
    """Start one runtime per model, however many roles it plays."""
    running: dict[ModelSpec, RunningModel] = {}
    by_role: dict[ModelRole, RunningModel] = {}
    roles: dict[ModelRole, ModelSpec] = {"actor": plan.model, **plan.roles}
    for role, spec in roles.items():
        if spec not in running:
            watcher.stage(f"Starting {spec.label}")
            running[spec] = await stack.enter_async_context(
                open_runtime(spec, policy=EgressPolicy.trusting(), needed_tokens=needed_tokens)
            )
        by_role[role] = running[spec]
    return by_role


def _tokens_needed(tasks: Mapping[str, Task], samples: Mapping[str, Sequence[Sample]]) -> int:
    """Reckon what the longest conversation takes, for machines on which less is more."""

    def prompt(sample: Sample) -> int:
        return 2 * sum(len(message.content) for message in sample.messages) // CHARACTERS_PER_TOKEN

    return max(
        TURNS * task.info.sampling.max_tokens + max(map(prompt, samples[name]), default=0)
        for name, task in tasks.items()
    )


def require_modes(methods: Sequence[Method], tasks: Sequence[TaskInfo]) -> None:
    """Refuse methods that cannot work on a task as it is put.

    Raises:
        BadTask: A task's mode is not among a method's; the reason names both.
    """
    for method in methods:
        for task in tasks:
            if task.mode not in method.evaluator.modes:
                listed = " and ".join(sorted(method.evaluator.modes))
                reason = f"it is put as {task.mode}, and {method.name} works on {listed}"
                raise BadTask(task=task.name, reason=reason)


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
    models: Mapping[ModelRole, RunningModel],
    watcher: Watcher,
) -> dict[tuple[str, str], tuple[SampleResult, ...]]:
    shared = _shared(plan, models)
    parts = [
        Part(method, task.info, len(samples[name]) * plan.replicates)
        for method in plan.methods
        for name, task in tasks.items()
    ]
    watcher.planned(parts)
    endpoints = [m.info.batch_size for m in models.values() if not m.info.stable]
    limits = plan.limits.patient_with(endpoints, at_once=len(parts))
    found: dict[tuple[str, str], list[SampleResult]] = {}

    async def run(part: Part) -> None:
        results = found[part.method.name, part.task.name] = []
        await evaluate(
            part.method.evaluator,
            part.method.params,
            task=tasks[part.task.name],
            samples=samples[part.task.name],
            models=shared,
            sink=_sink(part, results, watcher.result),
            seed=plan.seed,
            replicates=plan.replicates,
            limits=limits,
        )

    try:
        async with asyncio.TaskGroup() as group:  # a dead runtime ends them all
            for part in parts:
                group.create_task(run(part))
    except BaseExceptionGroup as errors:
        raise first_error(errors) from errors
    return {key: _in_order(results, samples[key[1]]) for key, results in found.items()}


def _shared(plan: Plan, models: Mapping[ModelRole, RunningModel]) -> dict[ModelRole, Model]:
    """Share each runtime among all roles and runs, under one bound on its calls in flight."""
    bound = max(64, 4 * plan.model.batch_size)
    by_runtime = {
        model.fingerprint: SharedModel(model, in_flight=bound) for model in models.values()
    }
    return {role: by_runtime[model.fingerprint] for role, model in models.items()}


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
