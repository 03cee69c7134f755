"""Moves that methods share: prompts from files, numbered candidates, votes, checks, revisions."""

from evaluators.strategies import ranking, similarity, stopping
from evaluators.strategies.candidates import numbered, read_choice
from evaluators.strategies.chains import run_chains, vote_over
from evaluators.strategies.checking import (
    APPROVED,
    OUT_OF_ROUNDS,
    Check,
    Read,
    Reading,
    Revisions,
    check,
    check_afresh,
    instructed,
    question_text,
    read_verdict,
    refined_by,
    revise_in_chat,
    until_approved,
)
from evaluators.strategies.prompts import Prompt, replaced
from evaluators.strategies.voting import Vote, plurality, vote

__all__ = [
    "APPROVED",
    "OUT_OF_ROUNDS",
    "Check",
    "Prompt",
    "Read",
    "Reading",
    "Revisions",
    "Vote",
    "check",
    "check_afresh",
    "instructed",
    "numbered",
    "plurality",
    "question_text",
    "ranking",
    "read_choice",
    "read_verdict",
    "refined_by",
    "replaced",
    "revise_in_chat",
    "run_chains",
    "similarity",
    "stopping",
    "until_approved",
    "vote",
    "vote_over",
]
