"""What evaluators need and what they work on, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from evaluators.model import CAPABILITIES
from leaderboard.catalog.models import EvaluatorVersion

MODES: Mapping[str, str] = {
    "generate_until": "written answers",
    "generative": "lettered options, answered in writing",
    "likelihood": "likelihoods of choices",
}
"""How tasks are put, by mode."""

ROLES: Mapping[str, str] = {"critic": "a critic", "judge": "a judge"}


@dataclass(frozen=True, slots=True)
class Capability:
    """Something that a model's runtime can do."""

    name: str
    meaning: str


def capabilities(names: Iterable[str]) -> list[Capability]:
    """Return capabilities with their meaning, in the order in which the library names them."""
    wanted = set(names)
    known = [Capability(name, CAPABILITIES[name]) for name in CAPABILITIES if name in wanted]
    others = sorted(wanted - CAPABILITIES.keys())
    return known + [Capability(name, "unknown to this version") for name in others]


def works_on(evaluator: EvaluatorVersion) -> str:
    """Return the modes of tasks that an evaluator works on, in words."""
    named = [words for mode, words in MODES.items() if mode in evaluator.modes]
    return " and ".join([*named, *sorted(set(evaluator.modes) - MODES.keys())])


def works_on_text(evaluator: EvaluatorVersion) -> bool:
    """Tell whether it works on written answers, as most do."""
    return not evaluator.modes or "generate_until" in evaluator.modes


def roles(evaluator: EvaluatorVersion) -> str:
    """Return the roles that another model may play, in words."""
    return " and ".join(ROLES.get(role, role) for role in evaluator.roles)
