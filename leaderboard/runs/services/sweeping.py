"""The sweeper: mends what dead processes left behind; idempotent, and holds no lease itself."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import Q

from leaderboard.runs.errors import CANCELLED, Failure
from leaderboard.runs.models import Run, Shard, State, Worker
from leaderboard.runs.models.work import TERMINAL
from leaderboard.runs.services.clock import ClockTimestamp
from leaderboard.runs.services.controls import make_controls
from leaderboard.runs.services.history import lock_run
from leaderboard.runs.services.recovery import recover_lost
from leaderboard.runs.services.transitions import follow, move, stop
from leaderboard.runs.signals import swept
from leaderboard.runs.tuning import tuning

log = logging.getLogger(__name__)

_WAITING = (State.QUEUED, State.RETRY_WAIT)


@dataclass(frozen=True, slots=True)
class Swept:
    """What one round found."""

    lost: int
    """Shards taken from dead owners."""
    used_up: int
    """Shards that may not be tried again."""
    overdue: int
    """Runs that have taken longer than a run may."""
    stopped: int
    """Runs brought to rest that were to stop."""
    followed: int
    """Runs that lagged behind their shards."""
    workers: int
    """Workers declared dead."""
    controls: int
    """Completed runs that were given what they are to be held against."""


def sweep() -> Swept:
    """Go round once."""
    found = Swept(
        lost=recover_lost(),
        used_up=_fail_used_up(),
        overdue=_fail_overdue(),
        stopped=_stop_runs(),
        followed=_follow_runs(),
        workers=_bury_workers(),
        controls=make_controls(),
    )
    for receiver, error in swept.send_robust(sender=Run):
        if isinstance(error, Exception):
            log.error("%r failed while sweeping", receiver, exc_info=error)
    return found


def _fail_used_up() -> int:
    """Fail waiting shards that have cost as many attempts as a shard may."""
    most = tuning().max_charged
    found = 0
    for pk in Shard.objects.filter(state__in=_WAITING, attempts_charged__gte=most).values_list(
        "pk", flat=True
    ):
        with transaction.atomic():
            shard = (
                Shard.objects.select_for_update(no_key=True, skip_locked=True)
                .filter(pk=pk, state__in=_WAITING, attempts_charged__gte=most)
                .first()
            )
            if shard is not None:
                detail = f"{shard.attempts_charged} attempts; the last: {shard.failure_detail}"
                failure = Failure("run:app:attempts-used-up", detail)
                move(shard, State.FAILED, actor="sweeper", failure=failure)
                found += 1
    return found


def _fail_overdue() -> int:
    """Have runs end that have taken longer than a run may, from their first claim on."""
    longest = tuning().run_seconds
    if not longest:
        return 0
    since = ClockTimestamp() - timedelta(seconds=longest)
    overdue = Run.objects.exclude(state__in=TERMINAL).filter(
        started_at__lt=since, failure_id="", cancel_requested_at=None
    )
    detail = f"it is not finished after {longest:g} s"
    failure = Failure("run:app:deadline", detail)
    pks = list(overdue.values_list("pk", flat=True))
    for pk in pks:
        stop(pk, actor="sweeper", failure=failure, failed=True)
    return len(pks)


def _stop_runs() -> int:
    """End what is waiting of runs that are to stop."""
    stopping = Run.objects.exclude(state__in=TERMINAL).filter(
        Q(cancel_requested_at__isnull=False) | ~Q(failure_id="")
    )
    waiting = stopping.filter(shards__state__in=_WAITING).distinct()
    return sum(stop(run.pk, actor="sweeper", failure=_why(run)) for run in waiting)


def _why(run: Run) -> Failure:
    return Failure(run.failure_id, run.failure_detail) if run.failure_id else CANCELLED


def _follow_runs() -> int:
    """Conclude runs whose shards are all done; only a fault of ours leaves one behind."""
    idle = Run.objects.exclude(state__in=TERMINAL).exclude(
        pk__in=Shard.objects.exclude(state__in=TERMINAL).values("run")
    )
    found = 0
    for pk in idle.values_list("pk", flat=True):
        with transaction.atomic():
            run = lock_run(pk)
            if run.state not in TERMINAL:
                follow(run, actor="sweeper")
                found += 1
    return found


def _bury_workers() -> int:
    """Mark workers that have been silent for two leases; they come back under another name."""
    silent = ClockTimestamp() - timedelta(seconds=2 * tuning().lease_seconds)
    return (
        Worker.objects.filter(last_seen__lt=silent)
        .exclude(state="stopped")
        .update(state="stopped", engine_key="", holds="", shards=0)
    )
