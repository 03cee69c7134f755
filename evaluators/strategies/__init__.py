"""Moves that methods share: prompts from files, votes over answers."""

from evaluators.strategies.prompts import Prompt
from evaluators.strategies.voting import Vote, plurality

__all__ = ["Prompt", "Vote", "plurality"]
