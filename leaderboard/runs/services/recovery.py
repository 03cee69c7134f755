"""What happens to shards whose worker or runtime died."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import Q

from leaderboard.runs.errors import CANCELLED, LOST, Failure
from leaderboard.runs.models import Attempt, Shard, State
from leaderboard.runs.models.work import OWNED
from leaderboard.runs.services.clock import ClockTimestamp
from leaderboard.runs.services.history import lock_run
from leaderboard.runs.services.transitions import is_stopping, move
from leaderboard.runs.tuning import tuning


def recover_lost(*, actor: str = "sweeper") -> int:
    """Take shards from owners whose lease has run out; return how many there were."""
    found = 0
    while _recover_one(actor):
        found += 1
    return found


def _recover_one(actor: str) -> bool:
    with transaction.atomic():
        shard = (
            Shard.objects.select_for_update(no_key=True, skip_locked=True)
            .filter(state__in=OWNED, lease_until__lt=ClockTimestamp())
            .order_by("id")
            .first()
        )
        if shard is None:
            return False
        company = had_company(shard)
        close_attempt(shard, outcome="lost", detail=f"{shard.owner} fell silent")
        failure = Failure(LOST.id, f"{shard.owner} fell silent")
        if is_stopping(lock_run(shard.run_id)):
            move(shard, State.CANCELLED, actor=actor, failure=CANCELLED)
        else:
            after_death(shard, actor=actor, failure=failure, company=company, wait=timedelta())
        return True


def had_company(shard: Shard) -> bool:
    """Tell whether others were aboard when the shard's owner died, so that nobody is to blame yet.

    One that had to be alone, and made no progress, was the only suspect: workers see to that.
    Others were aboard if their attempt is open, or was closed after the last sign of life.
    """
    if shard.alone:
        return False
    mine = Attempt.objects.get(shard=shard, fence=shard.fence)
    alive = mine.last_heartbeat_at or mine.started_at
    others = Attempt.objects.filter(worker=shard.owner).exclude(shard=shard)
    return others.filter(Q(ended_at=None) | Q(outcome="lost", ended_at__gt=alive)).exists()


def after_death(
    shard: Shard, *, actor: str, failure: Failure, company: bool, wait: timedelta
) -> None:
    """Decide what becomes of a locked shard that was aboard when its worker or runtime died.

    A death in company is nobody's fault yet: each goes on alone, and only deaths alone count.
    """
    numbers = tuning()
    deaths = shard.deaths_no_progress + (not company)
    if deaths >= numbers.fatal_deaths:
        detail = f"{deaths} deaths without progress; the last: {failure.detail or failure.id}"
        reason = Failure("run:app:quarantined", detail)
        move(shard, State.QUARANTINED, actor=actor, failure=reason, deaths_no_progress=deaths)
        return
    if shard.attempts_charged >= numbers.max_charged:
        reason = Failure("run:app:attempts-used-up", f"the last: {failure.detail or failure.id}")
        move(shard, State.FAILED, actor=actor, failure=reason, deaths_no_progress=deaths)
        return
    move(
        shard,
        State.RETRY_WAIT,
        actor=actor,
        failure=failure,
        not_before=ClockTimestamp() + wait,
        deaths_no_progress=deaths,
        alone=shard.alone or company,
    )


def close_attempt(shard: Shard, *, outcome: str, detail: str = "") -> None:
    """Write the end of a locked shard's present attempt."""
    Attempt.objects.filter(shard=shard, fence=shard.fence, ended_at=None).update(
        ended_at=ClockTimestamp(), outcome=outcome, detail=detail
    )
