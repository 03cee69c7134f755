"""Doubles and conformance checks, for us and for every author of an evaluator."""

from evaluators.testing.conformance import CheckResult, check_evaluator
from evaluators.testing.scripted import ScriptedContext, ScriptedModel, ScriptedTask, play

__all__ = [
    "CheckResult",
    "ScriptedContext",
    "ScriptedModel",
    "ScriptedTask",
    "check_evaluator",
    "play",
]
