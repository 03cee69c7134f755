"""The process in which evaluators are imported to be described: a line of JSON for each."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import EntryPoint
from typing import TextIO

from evaluators import entry_points
from evaluators.cards.card import method_card
from evaluators.errors import BrokenPlugin
from evaluators.registry import (
    EvaluatorCard,
    describe_evaluator,
    evaluator_point,
    evaluator_points,
    load_evaluator,
)


def describe(name: str, offered: Sequence[EntryPoint]) -> EvaluatorCard:
    """Import an evaluator here and return what it declares together with its method card."""
    try:
        found = describe_evaluator(name, among=offered)
    except BrokenPlugin as error:
        point = evaluator_point(name, among=offered)
        owner, version = entry_points.distribution(point), entry_points.version(point)
        return EvaluatorCard(name, point.value, owner, version, problem=str(error.data["reason"]))
    evaluator = load_evaluator(name, among=offered)
    card = asyncio.run(method_card(evaluator))  # noqa: TID251 - a process of its own
    return replace(found, card=card.to_json())


def main(names: list[str], out: TextIO) -> None:
    """Describe evaluators one after the other."""
    offered = evaluator_points()
    for name in names:
        out.write(json.dumps(asdict(describe(name, offered))) + "\n")
        out.flush()


if __name__ == "__main__":
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a plugin prints while it is imported is none of the lines
    main(sys.argv[1:], told)
