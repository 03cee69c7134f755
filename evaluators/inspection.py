"""Evaluators described from processes of their own, so that importing them can do no harm here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from importlib.metadata import EntryPoint
from itertools import groupby
from typing import Any

from evaluators import entry_points
from evaluators.errors import AmbiguousName, BrokenPlugin
from evaluators.registry import (
    EvaluatorCard,
    describe_evaluator,
    evaluator_point,
    evaluator_points,
)

SECONDS, SECONDS_EACH = 60, 5
"""How long one distribution's evaluators may take before the next of them counts as broken."""

AT_ONCE = 2
"""Distributions looked into at a time."""

CHILD, BRIEF_CHILD = "evaluators.cards.child", "evaluators.inspection"
"""The modules that a child runs: the one plays every card's example, the other knows no cards."""

_LISTS = ("requires", "modes", "roles", "metrics", "controls")


def inspect_evaluator(name: str) -> EvaluatorCard:
    """Describe one evaluator with its method card; see `inspect_evaluators`.

    Raises:
        NotInstalled: No evaluator has that name.
    """
    (card,) = inspect_evaluators([name])
    return card


def inspect_evaluators(names: Sequence[str], *, brief: bool = False) -> list[EvaluatorCard]:
    """Describe evaluators, each with its method card, in the order of their names.

    A distribution's evaluators share one process: they share a package anyway. One that ends the
    process, or hangs, is left out and the others go on in another. Never raises for what a plugin
    does; the card's `problem` says it.

    Args:
        names: Of the entry points.
        brief: Leave out method cards, digests and schemas; then all share one process.

    Raises:
        NotInstalled: No evaluator has one of the names.
    """
    offered = evaluator_points()
    points: list[EntryPoint] = []
    found: dict[str, EvaluatorCard] = {}
    for name in dict.fromkeys(names):
        try:
            points.append(evaluator_point(name, among=offered))
        except AmbiguousName as error:
            found[name] = EvaluatorCard(name, "", "", "", problem=str(error))
    points.sort(key=entry_points.distribution)
    if brief:
        found |= {card.name: card for card in _together(points, BRIEF_CHILD)}
        return [found[name] for name in sorted(found)]
    groups = [list(group) for _, group in groupby(points, key=entry_points.distribution)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for cards in pool.map(_together, groups):
            found |= {card.name: card for card in cards}
    return [found[name] for name in sorted(found)]


def _together(points: Sequence[EntryPoint], child: str = CHILD) -> list[EvaluatorCard]:
    """Describe evaluators in as many processes as it takes: one, if none of them ends it."""
    waiting = list(points)
    cards: list[EvaluatorCard] = []
    while waiting:
        told, reason = _child([point.name for point in waiting], child)
        cards += [_card(one) for one in told]
        waiting = waiting[len(told) :]
        if waiting:  # it ended on the first that it did not tell of
            cards.append(_problem(waiting.pop(0), reason))
    return cards


def _child(names: Sequence[str], child: str) -> tuple[list[Mapping[str, Any]], str]:
    """Return what a child told of the names, in order, and why it ended before the last."""
    limit = SECONDS + SECONDS_EACH * len(names)
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", child, *names],
            capture_output=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        return _told(late.stdout or b""), f"importing it takes longer than {limit} s"
    said = done.stderr.decode(errors="replace").strip().splitlines()
    raised = any(line.startswith("Traceback ") for line in said)
    return _told(done.stdout), said[-1] if raised else f"exit status {done.returncode}"


def _told(output: bytes) -> list[Mapping[str, Any]]:
    """Return what stands on the whole lines; one that was cut off counts as not said."""
    return [json.loads(line) for line in output.split(b"\n")[:-1]]


def _card(told: Mapping[str, Any]) -> EvaluatorCard:
    return EvaluatorCard(**{**told, **{name: tuple(told[name]) for name in _LISTS}})


def _problem(point: EntryPoint, reason: str) -> EvaluatorCard:
    owner, version = entry_points.distribution(point), entry_points.version(point)
    return EvaluatorCard(point.name, point.value, owner, version, problem=reason)


def describe(name: str, offered: Sequence[EntryPoint], *, brief: bool = False) -> EvaluatorCard:
    """Import an evaluator here and return what it declares, or why it cannot be imported."""
    try:
        return describe_evaluator(name, among=offered, brief=brief)
    except BrokenPlugin as error:
        return _problem(evaluator_point(name, among=offered), str(error.data["reason"]))


def tell(cards: Callable[[str, Sequence[EntryPoint]], EvaluatorCard]) -> None:
    """Describe the evaluators that are named on the command line: a line of JSON for each."""
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a plugin prints while it is imported is none of the lines
    offered = evaluator_points()
    for name in sys.argv[1:]:
        told.write(json.dumps(asdict(cards(name, offered))) + "\n")
        told.flush()


if __name__ == "__main__":
    tell(partial(describe, brief=True))
