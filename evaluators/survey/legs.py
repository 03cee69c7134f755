"""What a survey does: a leg per task, each with the methods that fit the task and the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from evaluators.engine import Limits
from evaluators.errors import NotInstalled
from evaluators.evaluator import Evaluator
from evaluators.registry import EvaluatorCard, load_evaluator
from evaluators.runtimes import ModelSpec
from evaluators.session import CHAT, Method, Plan
from evaluators.tasks import TaskSpec


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a survey."""

    model: ModelSpec
    tasks: tuple[TaskSpec, ...]
    """Questions."""
    critique_tasks: tuple[TaskSpec, ...] = ()
    """Solutions to judge: only for methods that judge what is given."""
    limit: int = 8
    """Samples per task."""
    max_tokens: int | None = 64
    """Most generated tokens of an answer; None leaves it to the task."""
    free_text_tokens: int = 96
    """Most generated tokens of anything else, such as a critique."""
    reply_tokens: int = 256
    """The same where a method has a limit of its own, for texts that hold critique and answer."""
    seed: int = 0
    in_flight: int = 64
    """Samples of each method that are worked on at once."""
    controls: bool = True


@dataclass(frozen=True, slots=True)
class Leg:
    """One task with all methods that fit it."""

    name: str
    """The task's, as results and folders name it."""
    plan: Plan
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Why methods are left out, by name."""
    optional: bool = False
    """It is left out where its data set is not there."""


def plan_legs(
    wanted: Wanted,
    cards: Sequence[EvaluatorCard],
    *,
    offered: frozenset[str] | None,
) -> list[Leg]:
    """Return a leg per task; a task of options is put by likelihood as well if a method needs it.

    Args:
        wanted: What is asked.
        cards: Methods to run, with their method cards.
        offered: What the runtime and the model can do; None where only a try tells.

    Raises:
        NotInstalled: No method is left.
    """
    legs = [
        _leg(wanted, task, cards, offered=offered, judging=task in wanted.critique_tasks)
        for task in (*_every_way(wanted.tasks, cards), *wanted.critique_tasks)
    ]
    if not any(leg.plan.methods for leg in legs):
        raise NotInstalled(kind="method that fits", name=" ".join(card.name for card in cards))
    return [leg for leg in legs if leg.plan.methods]


def _every_way(tasks: Sequence[TaskSpec], cards: Sequence[EvaluatorCard]) -> list[TaskSpec]:
    weighing = any(set(card.modes) == {"likelihood"} for card in cards)
    found = list(tasks)
    if weighing:
        found += [replace(task, mode="likelihood") for task in tasks if task.mode == "generative"]
    return found


def _leg(
    wanted: Wanted,
    task: TaskSpec,
    cards: Sequence[EvaluatorCard],
    *,
    offered: frozenset[str] | None,
    judging: bool,
) -> Leg:
    reasons = {card.name: _unfit(card, task, offered, judging=judging) for card in cards}
    evaluators = [load_evaluator(name) for name, reason in reasons.items() if not reason]
    plain = offered is not None and CHAT not in offered
    limited = task if wanted.max_tokens is None else replace(task, max_tokens=wanted.max_tokens)
    plan = Plan(
        wanted.model,
        tuple(_method(evaluator, wanted.reply_tokens) for evaluator in evaluators),
        (replace(limited, chat=False) if plain else limited,),
        {task.key: wanted.limit},
        seed=wanted.seed,
        limits=Limits(in_flight=wanted.in_flight, free_text_tokens=wanted.free_text_tokens),
        controls=wanted.controls,
    )
    skipped = {name: reason for name, reason in reasons.items() if reason}
    return Leg(task.key, plan, skipped, optional=judging)


def _method(evaluator: Evaluator, reply_tokens: int) -> Method:
    params = evaluator.bind({})
    if params.get("max_tokens", 0) > reply_tokens:
        params = evaluator.bind({"max_tokens": reply_tokens})
    return Method(evaluator, params)


def _unfit(
    card: EvaluatorCard, task: TaskSpec, offered: frozenset[str] | None, *, judging: bool
) -> str:
    """Say why a method is left out of a leg; empty where it fits."""
    mode = task.mode or "generate_until"
    if card.problem:
        return f"cannot be used: {card.problem}"
    if mode not in card.modes or (mode == "likelihood" and set(card.modes) != {mode}):
        return f"works on tasks put as {' or '.join(card.modes)}"
    if offered is not None and (lacking := set(card.requires) - offered):
        return f"needs {', '.join(sorted(lacking))}, which the model or its runtime lacks"
    if judging and not judges(card):
        return "judges no solution that it is given"
    return ""


def judges(card: EvaluatorCard) -> bool:
    """Tell whether a method's first answer state is a solution that it is given, by its example."""
    turns = card.card.get("turns", ())
    return any(turn["kind"] == "given" and 1 in turn["answers"] for turn in turns)
