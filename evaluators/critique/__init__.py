"""Shared protocols of critique: how judged text is quoted and verdicts are read."""

from evaluators.critique.policies import LOCATIONS, PAIR_POLICIES, POLICIES, PairPolicy, Policy
from evaluators.critique.quoting import quoted
from evaluators.critique.verdicts import Judged, parse_verdict

__all__ = [
    "LOCATIONS",
    "PAIR_POLICIES",
    "POLICIES",
    "Judged",
    "PairPolicy",
    "Policy",
    "parse_verdict",
    "quoted",
]
