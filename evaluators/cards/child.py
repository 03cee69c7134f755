"""The process in which evaluators are imported to be described: a line of JSON for each."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import asdict, replace
from typing import TextIO

from evaluators.cards.card import method_card
from evaluators.errors import BrokenPlugin
from evaluators.registry import EvaluatorCard, describe_evaluator, installed, load_evaluator


def describe(name: str) -> EvaluatorCard:
    """Import an evaluator here and return what it declares together with its method card."""
    try:
        found = describe_evaluator(name)
    except BrokenPlugin as error:
        place = next(entry for entry in installed() if entry.name == name)
        return EvaluatorCard(
            name,
            place.target,
            place.distribution,
            place.version,
            problem=str(error.data["reason"]),
        )
    card = asyncio.run(method_card(load_evaluator(name)))  # noqa: TID251 - a process of its own
    return replace(found, card=card.to_json())


def main(names: list[str], out: TextIO) -> None:
    """Describe evaluators one after the other."""
    for name in names:
        out.write(json.dumps(asdict(describe(name))) + "\n")
        out.flush()


if __name__ == "__main__":
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a plugin prints while it is imported is none of the lines
    main(sys.argv[1:], told)
