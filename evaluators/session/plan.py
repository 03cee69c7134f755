"""What to evaluate and what it came to, and which plans a model cannot carry out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evaluators.controls import (
    ControlComparison,
    HeldAgainst,
    compare_control,
    macro_differences,
)
from evaluators.engine import Limits, Repeated
from evaluators.errors import BadModel, BadTask
from evaluators.evaluator import Evaluator
from evaluators.metrics import Estimate, Trajectory
from evaluators.model import ModelRole, SampleResult
from evaluators.ports import TaskInfo
from evaluators.runtimes import ModelInfo, ModelSpec
from evaluators.strategies.packs import PromptPack
from evaluators.strategies.prompts import Replacements
from evaluators.tasks import TaskSpec

CHAT = "chat"
"""The capability that a chat template gives."""

WEIGHING = "token_logprobs"
"""The capability without which no draw can be weighed."""


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

    @property
    def weighs_draws(self) -> bool:
        """Some run may choose among draws by their log-probabilities: a method, or a control."""
        wanting = (method.evaluator for method in self.methods)
        return any(
            WEIGHING in e.requires or (self.controls and "best_of_n" in e.controls) for e in wanting
        )


@dataclass(frozen=True, slots=True)
class Part:
    """One method on one task: what results are grouped by."""

    method: Method
    task: TaskInfo
    planned: int
    """Trajectories that will be made."""


Key = tuple[str, str]
"""Name of a run and of its task."""


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


def require_capabilities(
    plan: Plan, capabilities: frozenset[str], *, role: ModelRole = "actor"
) -> None:
    """Refuse methods that need what a model or its runtime lacks, before anything is generated.

    Args:
        plan: What is to be done.
        capabilities: What the model of the role can do.
        role: Who it is; another's than the actor's counts for the methods that ask it alone.

    Raises:
        BadModel: A method needs more; the reason names both.
    """
    label = plan.roles.get(role, plan.model).label
    asking = [m for m in plan.methods if role == "actor" or role in m.evaluator.roles]
    for method in asking:
        lacking = sorted(method.evaluator.requires - capabilities)
        if CHAT in lacking:
            turns = "its later turns" if role == "actor" else f"what it asks the {role}"
            reason = f"it has no chat template, which {method.name} needs for {turns}"
            raise BadModel(model=label, reason=reason)
        if lacking:
            reason = f"its runtime lacks {', '.join(lacking)}, which {method.name} needs"
            raise BadModel(model=label, reason=reason)
