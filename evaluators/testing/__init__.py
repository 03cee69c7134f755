"""Doubles and conformance checks, for us and for every author of an evaluator."""

from pathlib import Path

from evaluators.testing.conformance import CheckResult, check_evaluator
from evaluators.testing.scripted import ScriptedContext, ScriptedModel, ScriptedTask, play

ECHO_TASKS = Path(__file__).parent / "tasks"
"""Folder of the tasks whose answers the `echo` runtime reads off the question."""

__all__ = [
    "ECHO_TASKS",
    "CheckResult",
    "ScriptedContext",
    "ScriptedModel",
    "ScriptedTask",
    "check_evaluator",
    "play",
]
