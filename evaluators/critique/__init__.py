"""Shared protocols of critique: what is judged, how it is quoted, how verdicts are read."""

from evaluators.critique.layout import LABEL, MARKS, Critique, parse_critique
from evaluators.critique.policies import LOCATIONS, PAIR_POLICIES, POLICIES, PairPolicy, Policy
from evaluators.critique.quoting import own_words, quoted
from evaluators.critique.steps import index_of, numbered_steps, steps_of
from evaluators.critique.subject import subject
from evaluators.critique.verdicts import Judged, parse_verdict, stated

__all__ = [
    "LABEL",
    "LOCATIONS",
    "MARKS",
    "PAIR_POLICIES",
    "POLICIES",
    "Critique",
    "Judged",
    "PairPolicy",
    "Policy",
    "index_of",
    "numbered_steps",
    "own_words",
    "parse_critique",
    "parse_verdict",
    "quoted",
    "stated",
    "steps_of",
    "subject",
]
