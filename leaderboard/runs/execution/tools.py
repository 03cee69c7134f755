"""What the parts of a worker hand to one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from evaluators.engine import SharedModel
from evaluators.model import ModelRole, SampleResult
from evaluators.runtimes import RunningModel
from leaderboard.runs.errors import Failure
from leaderboard.runs.execution.database import DatabaseThread
from leaderboard.runs.execution.heart import Heart
from leaderboard.runs.execution.shelf import TaskShelf
from leaderboard.runs.services import Claim
from leaderboard.runs.tuning import Tuning

Stop = Literal["fenced", "cancelled", "drained", "broken"]
"""Why a job is told to stop."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What all jobs of a slot share."""

    worker: str
    database: DatabaseThread
    """For leases and results."""
    store: DatabaseThread
    """For generations, so that neither waits for the other."""
    heart: Heart
    shelf: TaskShelf
    numbers: Tuning


@dataclass(frozen=True, slots=True)
class Opened:
    """A runtime that answers."""

    running: RunningModel
    shared: SharedModel


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Why a runtime can no longer be used."""

    failure: Failure
    company: bool
    """Several shards were aboard."""
    kind: Literal["died", "retry"]
    """`retry`: it was alive, but nothing came out of it, or it is not ours: no death that anybody
    is blamed for."""


class Runtime(Protocol):
    """What a job needs of the session that it belongs to."""

    async def models(self, held: Claim) -> Mapping[ModelRole, Opened]:
        """Wait for the runtimes of all roles.

        Raises:
            InputError: A model cannot be served, or there is no room for two.
            RuntimeUnavailable: One died while loading.
        """
        ...

    async def blame(self, held: Claim, failure: Failure) -> Breakdown:
        """Give up the runtime that failed the shard; the first reason counts."""
        ...

    def progressed(self, result: SampleResult) -> None:
        """Take note that a sample was finished."""
        ...
