"""A plan from its models' start to their stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import chain

from evaluators.engine import SharedModel
from evaluators.model import ModelRole, Sample
from evaluators.ports import Model, Task
from evaluators.runtimes import EgressPolicy, ModelSpec, RunningModel, open_runtime
from evaluators.session.plan import (
    Plan,
    Report,
    Watcher,
    require_capabilities,
    require_modes,
)
from evaluators.session.runs import Runs
from evaluators.strategies.parity import require_parity
from evaluators.tasks import open_tasks

CHARACTERS_PER_TOKEN = 3
"""A cautious reckoning of what a tokenizer makes of a prompt, before there is one to ask."""

TURNS = 4
"""Answers, and texts about them, that a conversation is reckoned to hold."""

Through = Callable[[Model], Model]
"""Returns a model that stands before another."""


def _nothing_between(model: Model) -> Model:
    return model


async def run_plan(
    plan: Plan, watcher: Watcher | None = None, *, through: Through = _nothing_between
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
        for role, model in running.items():
            require_capabilities(plan, model.capabilities, role=role)
        runs = Runs(plan, tasks, samples, _shared(plan, running, through), watcher=watcher)
        runs.be_patient_with([m.info.batch_size for m in running.values() if not m.info.stable])
        await runs.finish()
        repeated = {}
        if plan.repeat:
            watcher.stage(f"Putting {plan.repeat} questions again")
            repeated = await runs.repeat(_shared(plan, running, _nothing_between))
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


def _shared(
    plan: Plan, models: Mapping[ModelRole, RunningModel], through: Through
) -> dict[ModelRole, Model]:
    """Share each runtime among all roles and runs, under one bound on its calls in flight."""
    bound = max(64, 4 * plan.model.batch_size)
    by_runtime = {
        model.fingerprint: SharedModel(through(model), in_flight=bound, weighed=plan.weighs_draws)
        for model in models.values()
    }
    return {role: by_runtime[model.fingerprint] for role, model in models.items()}
