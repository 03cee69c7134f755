"""Every method on every task, side by side, and what their results are held against."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from evaluators.controls import (
    GREEDY,
    HeldAgainst,
    PlannedControl,
    first_temperatures,
    plan_controls,
    tokens_per_sample,
)
from evaluators.engine import Repeated, evaluate, repeat
from evaluators.errors import first_error
from evaluators.metrics import Trajectory
from evaluators.model import ModelRole, Sample, SampleResult
from evaluators.ports import Model, Sink, Task, TaskInfo
from evaluators.registry import load_evaluator
from evaluators.session.plan import Key, Method, Part, Plan, Watcher


class Runs:
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
        self._jobs: dict[Key, asyncio.Task[None]] = {}
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
        try:
            async with asyncio.TaskGroup() as group:  # a dead runtime ends them all
                for part in self._parts:
                    self._start(part, group)
                for part in self._parts if self._plan.controls else ():
                    group.create_task(self._hold_against(part, group))
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

    def _start(self, part: Part, group: asyncio.TaskGroup) -> None:
        key = part.method.name, part.task.name
        self._found[key] = []
        self._jobs[key] = group.create_task(self._evaluate(part))

    async def _hold_against(self, part: Part, group: asyncio.TaskGroup) -> None:
        """Start a method's controls once it is finished.

        The vote for its tokens comes last: the vote for its calls tells what an answer costs, or,
        where the method makes one long call, the greedy answer.
        """
        method, task = part.method.name, part.task.name
        await self._jobs[method, task]
        planned = self._planned(part)
        telling = {one.kind: one for one in planned if not one.missing}
        measure = telling.get("sc_calls") or telling.get("greedy")
        sized = [one for one in planned if one.kind != "sc_tokens" or measure is None]
        held = self._started(sized, part.task, group)
        if measure and len(sized) < len(planned):
            run = next(one.run for one in held if one.planned == measure)
            await self._jobs[run, task]
            tokens = tokens_per_sample(measure, self._trajectories(run, task))
            planned = self._planned(part, sampled_tokens=tokens)
            held = self._started(planned, part.task, group)
        self.controls[method, task] = held

    def _planned(
        self, part: Part, *, sampled_tokens: float | None = None
    ) -> tuple[PlannedControl, ...]:
        return plan_controls(
            part.method.evaluator,
            self._trajectories(part.method.name, part.task.name),
            capabilities=self._shared["actor"].capabilities,
            mode=part.task.mode,
            temperature=part.task.sampling.temperature,
            drawn_at=max(
                first_temperatures(self._found[part.method.name, part.task.name]), default=None
            ),
            sampled_tokens=sampled_tokens,
        )

    def _trajectories(self, run: str, task: str) -> list[Trajectory]:
        return [Trajectory.from_result(result) for result in self._found[run, task]]

    def _started(
        self, planned: Sequence[PlannedControl], task: TaskInfo, group: asyncio.TaskGroup
    ) -> tuple[HeldAgainst, ...]:
        """Start the runs that nobody has started yet, and say which run is which control."""
        held = tuple(HeldAgainst(one, self._run_of(one)) for one in planned)
        for run in sorted({one.run for one in held if one.run}):
            if (run, task.name) not in self._jobs:
                control = self._part(self.control_methods[run], self._tasks[task.name])
                self._watcher.control(control)
                self._start(control, group)
        return held

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
