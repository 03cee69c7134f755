"""Methods presented: what an evaluator declares, what its card file tells, how its turns run."""

from evaluators.cards.card import MethodCard, method_card
from evaluators.cards.drawing import lines, mermaid, svg
from evaluators.cards.files import CardFile, read_card
from evaluators.cards.packs import FoundPack, find_packs, folder_problem, open_pack, pack_for
from evaluators.cards.prompts import installed_prompts, prompts_of
from evaluators.cards.turns import Turn, turns_of
from evaluators.inspection import inspect_evaluator, inspect_evaluators

__all__ = [
    "CardFile",
    "FoundPack",
    "MethodCard",
    "Turn",
    "find_packs",
    "folder_problem",
    "inspect_evaluator",
    "inspect_evaluators",
    "installed_prompts",
    "lines",
    "mermaid",
    "method_card",
    "open_pack",
    "pack_for",
    "prompts_of",
    "read_card",
    "svg",
    "turns_of",
]
