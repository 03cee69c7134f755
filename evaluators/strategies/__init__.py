"""Moves that methods share: prompts from files, numbered candidates, votes over answers."""

from evaluators.strategies.candidates import numbered, read_choice
from evaluators.strategies.prompts import Prompt, replaced
from evaluators.strategies.voting import Vote, plurality, vote

__all__ = ["Prompt", "Vote", "numbered", "plurality", "read_choice", "replaced", "vote"]
