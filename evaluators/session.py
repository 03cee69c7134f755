"""One evaluation from names to results, without a server: what `run` and notebooks call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from evaluators.controls import (
    GREEDY,
    ControlComparison,
    HeldAgainst,
    PlannedControl,
    compare_control,
    macro_differences,
    plan_controls,
)
from evaluators.engine import Limits, Repeated, SharedModel, evaluate, repeat
from evaluators.errors import BadModel, BadTask, first_error
from evaluators.evaluator import Evaluator
from evaluators.metrics import Estimate, Trajectory
from evaluators.model import ModelRole, Sample, SampleResult
from evaluators.ports import Model, Sink, Task, TaskInfo
from evaluators.registry import load_evaluator
from evaluators.runtimes import EgressPolicy, ModelInfo, ModelSpec, RunningModel, open_runtime
from evaluators.strategies.packs import PromptPack
from evaluators.strategies.parity import require_parity
from evaluators.strategies.prompts import Replacements
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
    control: str = ""
    """Name of the run where it is a control, such as `self_consistency@5`; empty for a method."""

    @property
    def name(self) -> str:
        """What results go by: the evaluator's name, or the control's."""
        return self.control or self.evaluator.name


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
    controls: bool = True
    """Run what every method is to be held against at equal compute."""
    repeat: int = 0
    """Questions per task that are put greedily a second time, past everything shared."""
    pack: PromptPack | None = None
    """Prompts that stand in for the methods' own."""

    @property
    def prompts(self) -> Replacements:
        """What stands in for which prompt."""
        return self.pack.prompts if self.pack else {}


@dataclass(frozen=True, slots=True)
class Part:
    """One method on one task: what results are grouped by."""

    method: Method
    task: TaskInfo
    planned: int
    """Trajectories that will be made."""


Key = tuple[str, str]
"""Name of a run and of its task."""

Through = Callable[[Model], Model]
"""Returns a model that stands before another."""


@dataclass(frozen=True, slots=True)
class Report:
    """What an evaluation came to."""

    model: ModelInfo
    fingerprint: str
    results: Mapping[Key, tuple[SampleResult, ...]]
    """Results in task order by (method, task), controls after methods."""
    tasks: Mapping[str, TaskInfo]
    roles: Mapping[ModelRole, ModelInfo] = field(default_factory=dict)
    """The models that played other roles than the actor's."""
    controls: Mapping[Key, tuple[HeldAgainst, ...]] = field(default_factory=dict)
    """What the result of each (method, task) is held against."""
    control_methods: tuple[Method, ...] = ()
    """Controls that were run beside the methods asked for."""
    repeated: Mapping[str, Repeated] = field(default_factory=dict)
    """What became of equal greedy calls made twice, by task."""

    def compared(self, method: str, task: str) -> list[ControlComparison]:
        """Hold a method's result on a task against its controls."""
        ours = self._trajectories(method, task)
        return [
            compare_control(one.planned, ours, self._trajectories(one.run, task))
            for one in self.controls.get((method, task), ())
        ]

    def macro(self, method: str) -> dict[str, Estimate]:
        """Average a method's differences from its controls over tasks."""
        return macro_differences({task: self.compared(method, task) for task in self.tasks})

    def _trajectories(self, run: str, task: str) -> list[Trajectory]:
        return [Trajectory.from_result(result) for result in self.results.get((run, task), ())]


class Watcher:
    """Told what happens while an evaluation runs; override what is of interest."""

    def stage(self, text: str) -> None:
        """Take note that a long step begins."""

    def planned(self, parts: Sequence[Part]) -> None:
        """Take note of all that will be done, but for controls."""

    def control(self, part: Part) -> None:
        """Take note of a control that a finished method asks for."""

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


async def run_plan(
    plan: Plan, watcher: Watcher | None = None, *, through: Through = lambda model: model
) -> Report:
    """Start the runtime, run every method on every task, stop the runtime.

    All methods run side by side on one runtime, so that equal calls are made once and the tail of
    one fills with the head of the next. The controls of a method follow as soon as it is finished.

    Args:
        plan: What to evaluate.
        watcher: Told what happens.
        through: Stands between all methods and each model; by default nothing does.

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
        if plan.pack:
            require_parity(plan.pack, chain.from_iterable(samples.values()))
        needed = _tokens_needed(tasks, samples)
        running = await _start(plan, stack, watcher, needed_tokens=needed)
        require_capabilities(plan, running["actor"].capabilities)
        runs = _Runs(plan, tasks, samples, _shared(plan, running, through), watcher=watcher)
        runs.be_patient_with([m.info.batch_size for m in running.values() if not m.info.stable])
        await runs.finish()
        repeated = {}
        if plan.repeat:
            watcher.stage(f"Putting {plan.repeat} questions again")
            repeated = await runs.repeat(_shared(plan, running, through))
        watcher.stage("Evaluated; stopping the runtime")
        infos = {name: task.info for name, task in tasks.items()}
        actor = running.pop("actor")
        roles = {role: model.info for role, model in running.items()}
        return Report(
            actor.info,
            actor.fingerprint,
            runs.in_order(),
            infos,
            roles,
            runs.controls,
            tuple(runs.control_methods.values()),
            repeated,
        )


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


class _Runs:
    """Every method on every task, side by side, and the controls that their results ask for."""

    def __init__(
        self,
        plan: Plan,
        tasks: Mapping[str, Task],
        samples: Mapping[str, Sequence[Sample]],
        models: Mapping[ModelRole, Model],
        *,
        watcher: Watcher,
    ) -> None:
        self._plan, self._tasks, self._samples, self._watcher = plan, tasks, samples, watcher
        self._shared, self._limits = models, plan.limits
        self._parts = [self._part(m, task) for m in plan.methods for task in tasks.values()]
        self._found: dict[Key, list[SampleResult]] = {}
        self.controls: dict[Key, tuple[HeldAgainst, ...]] = {
            (part.method.name, part.task.name): () for part in self._parts
        }
        self.control_methods: dict[str, Method] = {}

    def be_patient_with(self, endpoints: Sequence[int]) -> None:
        """Give samples the time that endpoints need, by the calls that each takes at a time."""
        held = self._plan.controls
        at_once = sum(1 + len(p.method.evaluator.controls) * held for p in self._parts)
        self._limits = self._plan.limits.patient_with(endpoints, at_once=at_once)

    async def finish(self) -> None:
        """Evaluate everything.

        Raises:
            RuntimeUnavailable: The runtime died on the way.
        """
        self._watcher.planned(self._parts)
        self._found = {(part.method.name, part.task.name): [] for part in self._parts}
        try:
            async with asyncio.TaskGroup() as group:  # a dead runtime ends them all
                for part in self._parts:
                    group.create_task(self._method(part, group))
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors

    async def repeat(self, fresh: Mapping[ModelRole, Model]) -> dict[str, Repeated]:
        """Put some questions greedily to models that share nothing with what was done.

        Raises:
            RuntimeUnavailable: The runtime died on the way.
        """
        evaluator = load_evaluator(GREEDY)
        return {
            name: await repeat(
                evaluator,
                {"temperature": 0.0} if task.info.sampling.temperature else {},
                task=task,
                samples=self._samples[name][: self._plan.repeat],
                models=self._shared,
                fresh=fresh,
                limits=self._limits,
            )
            for name, task in self._tasks.items()
            if task.info.mode != "likelihood"
        }

    def in_order(self) -> dict[Key, tuple[SampleResult, ...]]:
        """Return all results in their tasks' order."""
        return {key: _in_order(found, self._samples[key[1]]) for key, found in self._found.items()}

    def _part(self, method: Method, task: Task) -> Part:
        return Part(method, task.info, len(self._samples[task.info.name]) * self._plan.replicates)

    async def _method(self, part: Part, group: asyncio.TaskGroup) -> None:
        await self._evaluate(part)
        if self._plan.controls:
            self._hold_against(part, group)

    def _hold_against(self, part: Part, group: asyncio.TaskGroup) -> None:
        """Start the controls of a finished method that nobody has started yet."""
        method, task = part.method, part.task
        results = self._found[method.name, task.name]
        planned = plan_controls(
            method.evaluator,
            [Trajectory.from_result(result) for result in results],
            capabilities=self._shared["actor"].capabilities,
            mode=task.mode,
            temperature=task.sampling.temperature,
        )
        held = [HeldAgainst(one, self._run_of(one)) for one in planned]
        self.controls[method.name, task.name] = tuple(held)
        for run in sorted({one.run for one in held if one.run}, key=self._place):
            if (run, task.name) not in self._found:
                control = self._part(self.control_methods[run], self._tasks[task.name])
                self._found[run, task.name] = []
                self._watcher.control(control)
                group.create_task(self._evaluate(control))

    def _place(self, run: str) -> tuple[bool, str]:
        """Put runs that need log-probabilities first: the others are answered by the same draws."""
        control = self.control_methods.get(run)
        needs = control is not None and "token_logprobs" in control.evaluator.requires
        return not needs, run

    def _run_of(self, planned: PlannedControl) -> str:
        """Return the name of the run that is the control; a method asked for may be it already."""
        if planned.missing:
            return ""
        evaluator = load_evaluator(planned.evaluator)
        params = evaluator.bind(planned.params)
        for method in self._plan.methods:
            if method.evaluator.name == planned.evaluator and method.params == params:
                return method.name
        self.control_methods.setdefault(planned.label, Method(evaluator, params, planned.label))
        return planned.label

    async def _evaluate(self, part: Part) -> None:
        task = part.task.name
        await evaluate(
            part.method.evaluator,
            part.method.params,
            task=self._tasks[task],
            samples=self._samples[task],
            models=self._shared,
            sink=_sink(part, self._found[part.method.name, task], self._watcher.result),
            seed=self._plan.seed,
            replicates=self._plan.replicates,
            limits=self._limits,
            prompts=self._plan.prompts,
        )


def _shared(
    plan: Plan, models: Mapping[ModelRole, RunningModel], through: Through
) -> dict[ModelRole, Model]:
    """Share each runtime among all roles and runs, under one bound on its calls in flight."""
    bound = max(64, 4 * plan.model.batch_size)
    by_runtime = {
        model.fingerprint: SharedModel(through(model), in_flight=bound) for model in models.values()
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
