"""Shared protocols of critique: how verdicts are read, and what unreadable ones count as."""

from evaluators.critique.policies import LOCATIONS, PAIR_POLICIES, POLICIES, PairPolicy, Policy
from evaluators.critique.verdicts import Judged, parse_verdict

__all__ = [
    "LOCATIONS",
    "PAIR_POLICIES",
    "POLICIES",
    "Judged",
    "PairPolicy",
    "Policy",
    "parse_verdict",
]
