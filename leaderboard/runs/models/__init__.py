"""Rows of a run: what was asked for, who works on it, and what came out."""

from leaderboard.runs.models.controls import CONTROL_TITLES, RunControl
from leaderboard.runs.models.results import (
    AnswerState,
    Generation,
    Judgement,
    Node,
    SampleResult,
)
from leaderboard.runs.models.work import (
    Attempt,
    Event,
    Run,
    Shard,
    State,
    Submission,
    Worker,
)

__all__ = [
    "CONTROL_TITLES",
    "AnswerState",
    "Attempt",
    "Event",
    "Generation",
    "Judgement",
    "Node",
    "Run",
    "RunControl",
    "SampleResult",
    "Shard",
    "State",
    "Submission",
    "Worker",
]
