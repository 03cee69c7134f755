"""The process in which evaluators are imported to be described with their method cards."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint

from evaluators.cards.card import method_card
from evaluators.inspection import describe, tell
from evaluators.registry import EvaluatorCard, load_evaluator


def with_card(name: str, offered: Sequence[EntryPoint]) -> EvaluatorCard:
    """Import an evaluator here and return what it declares together with its method card."""
    found = describe(name, offered)
    if found.problem:
        return found
    evaluator = load_evaluator(name, among=offered)
    card = asyncio.run(method_card(evaluator))  # noqa: TID251 - a process of its own
    return replace(found, card=card.to_json())


if __name__ == "__main__":
    tell(with_card)
