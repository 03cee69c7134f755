"""How far a run is, and when it will be done: figures of the status page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Min
from django.utils import timezone

from leaderboard.runs.models import Attempt, Event, Run, RunControl, SampleResult, Shard
from leaderboard.runs.models.work import TERMINAL

RECENT = 200
"""Samples that the pace is taken from."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run or shard is."""

    done: int
    total: int | None
    """None until every task was loaded once."""
    eta_seconds: float | None = None
    eta_method: str = ""

    @property
    def percent(self) -> float | None:
        """Share done, in per cent; None while the total is unknown."""
        return None if not self.total else min(100.0, 100 * self.done / self.total)


def planned(run: Run, shard: Shard) -> int | None:
    """Return how many trajectories a shard has to make; None until its task was loaded once."""
    return None if shard.size is None else shard.size * run.replicates


def tallied(run: Run, shards: Sequence[Shard]) -> Progress:
    """Add up a run's shards."""
    parts = [planned(run, shard) for shard in shards]
    total = None if None in parts else sum(part or 0 for part in parts)
    return Progress(sum(shard.progress_done for shard in shards), total)


def run_progress(run: Run, shards: Sequence[Shard]) -> Progress:
    """Add up a run's shards and extrapolate from its latest samples."""
    found = tallied(run, shards)
    done, total = found.done, found.total
    if run.state in TERMINAL or not total or done >= total:
        return found
    pace, samples = _seconds_per_sample(run)
    if pace is None:
        return found
    method = f"{total - done} samples left at the pace of the last {samples}"
    return Progress(done, total, (total - done) * pace, method)


def _seconds_per_sample(run: Run) -> tuple[float | None, int]:
    """Return the pace of the last samples, counted from the first of them until now.

    Samples are committed in batches: counting until the last commit would flatter the pace.
    """
    recent = SampleResult.objects.filter(run=run).order_by("-id").values("committed_at")[:RECENT]
    span = recent.aggregate(first=Min("committed_at"), n=Count("*"))
    started: datetime | None = run.started_at if span["n"] < RECENT else span["first"]
    if not span["n"] or started is None:
        return None, 0
    return max((timezone.now() - started).total_seconds(), 0.001) / span["n"], span["n"]


@dataclass(frozen=True, slots=True)
class RunStatus:
    """All that the status page shows of a run."""

    run: Run
    shards: list[Shard]
    progress: Progress
    events: list[Event]
    attempts: list[Attempt]
    controls: list[RunControl]
    """What it is held against."""

    @property
    def parts(self) -> list[tuple[Shard, int | None]]:
        """The shards, each with how many trajectories it has to make."""
        return [(shard, planned(self.run, shard)) for shard in self.shards]

    @property
    def live(self) -> bool:
        """The state may still change."""
        return self.run.state not in TERMINAL


def run_status(run: Run) -> RunStatus:
    """Read a run's status: shards, events and attempts, in five queries."""
    shards = list(run.shards.order_by("task", "offset"))
    return RunStatus(
        run=run,
        shards=shards,
        progress=run_progress(run, shards),
        events=list(run.events.select_related("shard").order_by("seq")[:500]),
        attempts=list(
            Attempt.objects.filter(shard__run=run).select_related("shard").order_by("id")[:200]
        ),
        controls=list(run.controls.select_related("control__evaluator")),
    )
