"""The state of the whole queue: workers, waiting work, the oldest runs that are not finished."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Count, Max, Prefetch
from django.utils import timezone

from leaderboard.runs.access import Visitor, visible_runs
from leaderboard.runs.models import Run, Shard, State, Worker
from leaderboard.runs.models.work import OWNED, TERMINAL
from leaderboard.runs.progress import Progress, tallied
from leaderboard.runs.services.clock import database_now
from leaderboard.runs.tuning import tuning

OLDEST = 50
SANDBOXES = ("bwrap",)
"""Isolation modes under which a model sees neither files nor network."""


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that is not finished, with the reason why."""

    run: Run
    progress: Progress
    reason: str
    age_seconds: float


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """What the public status page shows."""

    workers: list[tuple[Worker, bool]]
    """Workers seen lately, each with whether it is alive now."""
    shards: dict[str, int]
    """Unfinished shards by state."""
    oldest: list[OpenRun]
    open_runs: int
    unprotected: list[str]
    """Workers that run models without a sandbox."""
    blocked: list[Worker]
    """Workers that leave work undone, each with its `problem`."""
    max_wait_seconds: float | None
    """How long the longest waiting shard has waited."""


def queue_status(user: Visitor) -> QueueStatus:
    """Read the state of the queue as a visitor may see it."""
    now = database_now()  # leases and last signs of life are by the database's clock
    silent = now - timedelta(seconds=2 * tuning().lease_seconds)
    seen = Worker.objects.filter(last_seen__gte=now - timedelta(days=1))[:100]
    workers = [(w, w.last_seen >= silent and w.state != "stopped") for w in seen]
    unfinished = Shard.objects.exclude(state__in=TERMINAL).order_by()
    counts = {row["state"]: row["n"] for row in unfinished.values("state").annotate(n=Count("id"))}
    waiting = (
        unfinished.filter(state=State.QUEUED)
        .order_by("queued_at")
        .values_list("queued_at", flat=True)
        .first()
    )
    open_runs = visible_runs(user).exclude(state__in=TERMINAL)
    oldest = open_runs.order_by("queued_at", "id").prefetch_related(
        Prefetch("shards", Shard.objects.annotate(beat=Max("attempts__last_heartbeat_at")))
    )[:OLDEST]
    return QueueStatus(
        workers=workers,
        shards=counts,
        oldest=[_open_run(run) for run in oldest],
        open_runs=open_runs.count(),
        unprotected=[w.id for w, alive in workers if alive and w.isolation not in SANDBOXES],
        blocked=[w for w, alive in workers if alive and w.problem],
        max_wait_seconds=(now - waiting).total_seconds() if waiting else None,
    )


def _open_run(run: Run) -> OpenRun:
    shards = list(run.shards.all())
    age = (timezone.now() - run.queued_at).total_seconds()
    return OpenRun(run, tallied(run, shards), why_open(run, shards), age)


def why_open(run: Run, shards: list[Shard]) -> str:
    """Say in one line what an unfinished run is waiting for."""
    if run.cancel_requested_at:
        return "cancel requested; waiting for its worker to let go"
    owned = [shard for shard in shards if shard.state in OWNED]
    if owned:
        beats = [beat for shard in owned if (beat := getattr(shard, "beat", None))]
        lease = max(shard.lease_until for shard in owned if shard.lease_until)
        age = (
            f"{(timezone.now() - max(beats)).total_seconds():.0f} s ago"
            if beats
            else "not yet heard"
        )
        holders = ", ".join(sorted({str(shard.owner) for shard in owned}))
        return f"held by {holders}, heartbeat {age}, lease until {lease:%H:%M:%S}"
    waits = [shard for shard in shards if shard.state == State.RETRY_WAIT]
    if waits:
        first = min((shard.not_before for shard in waits if shard.not_before), default=None)
        due = f" until {first:%H:%M:%S}" if first else ""
        return f"waiting{due} to try again after {waits[0].failure_id or 'an interruption'}"
    if run.pack is not None:
        words = f"prompts of {run.pack} (sha256 {run.pack.short})"
        return f"queued; no worker that has the {words} has taken it yet"
    return "queued; no worker has taken it yet"
