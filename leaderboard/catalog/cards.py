"""Method cards as the catalogue keeps them: data that was read when the plugin was inspected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from evaluators.cards import Turn
from evaluators.controls import TITLES
from leaderboard.catalog.models import EvaluatorVersion, arxiv_url
from leaderboard.core.rendering import visible

CLASSES: Mapping[str, str] = {
    "intrinsic": "intrinsic",
    "external_feedback": "external feedback",
    "oracle": "oracle",
}
"""What a method may learn, in words."""


@dataclass(frozen=True, slots=True)
class Published:
    """A line of figures that a paper prints."""

    setting: str
    figures: list[float | None]
    source: str
    """Where they are printed."""
    url: str
    unverified: bool


def turns_of(card: Mapping[str, Any]) -> list[Turn]:
    """Return the turns of a card's example, hidden characters spelled out; none if it has none."""
    names = {field.name for field in fields(Turn)}
    stored: Sequence[Mapping[str, Any]] = card.get("turns") or ()
    if any(names - turn.keys() for turn in stored):
        return []  # recorded by another release
    turns = [Turn(**{name: _value(turn[name]) for name in names}) for turn in stored]
    return [
        replace(
            turn,
            text=visible(turn.text),
            agent=visible(turn.agent),
            asked=tuple(visible(name) for name in turn.asked),
        )
        for turn in turns
    ]


def _value(stored: Any) -> Any:
    """Return a field as the library has it: JSON knows no tuples."""
    return tuple(stored) if isinstance(stored, list) else stored


def published_of(card: Mapping[str, Any]) -> tuple[list[str], list[Published]]:
    """Return the figures that papers print: titles of the columns, and the lines."""
    stored: Sequence[Mapping[str, Any]] = card.get("published") or ()
    names = list(dict.fromkeys(name for line in stored for name in line["figures"]))
    lines = [
        Published(
            setting=line["setting"],
            figures=[line["figures"].get(name) for name in names],
            source=line["source"],
            url=arxiv_url(line["source"].partition(",")[0].strip()),
            unverified=bool(line.get("unverified")),
        )
        for line in stored
    ]
    return names, lines


def class_of(evaluator: EvaluatorVersion) -> str:
    """Return what a method may learn, in words."""
    return CLASSES.get(evaluator.information, evaluator.information)


def controls_of(evaluator: EvaluatorVersion) -> list[str]:
    """Return what a method's results are held against, in words."""
    titles = {str(kind): title for kind, title in TITLES.items()}
    return [titles.get(kind, kind) for kind in evaluator.controls]
