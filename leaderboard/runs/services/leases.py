"""What an owner does with its shard: start, beat, commit, finish, release.

The row of a shard says who may write: its owner, with its fence, for as long as the lease lasts.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from django.db import connection, transaction
from django.db.models import F, Value
from django.db.models.functions import Greatest

from leaderboard.runs.errors import CANCELLED, DRAINED, Failure, Fenced
from leaderboard.runs.models import Attempt, SampleResult, Shard, State, Worker
from leaderboard.runs.models.work import OWNED
from leaderboard.runs.services.claiming import Claim
from leaderboard.runs.services.clock import ClockTimestamp
from leaderboard.runs.services.history import lock_run
from leaderboard.runs.services.recovery import after_death, close_attempt
from leaderboard.runs.services.rows import Prepared
from leaderboard.runs.services.storing import store
from leaderboard.runs.services.transitions import is_stopping, move
from leaderboard.runs.tuning import tuning

_BEAT = """
UPDATE runs_shard s SET lease_until = clock_timestamp() + %(lease)s
  FROM runs_run r, unnest(%(ids)s::bigint[], %(fences)s::bigint[]) AS held(id, fence)
 WHERE r.id = s.run_id AND s.id = held.id AND s.fence = held.fence AND s.owner = %(worker)s
RETURNING s.id, r.cancel_requested_at IS NOT NULL OR r.failure_id <> ''
"""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a worker lets go of a shard that it did not finish."""

    kind: Literal["drained", "cancelled", "died", "retry", "failed"]
    failure: Failure
    company: bool = False
    """Other shards were aboard when the runtime died, so this one is not to blame alone."""
    wait: bool = field(default=True)
    """Wait before the next attempt."""


def start(held: Claim, *, facts: Mapping[str, Any]) -> None:
    """Say that the work begins, and with what.

    Safe to repeat when a lost connection leaves it open whether it went through.

    Raises:
        Fenced: The shard is no longer ours.
    """
    with transaction.atomic():
        shard = _owned(held)
        if shard.state != State.RUNNING:
            move(shard, State.RUNNING, actor=held.worker, facts=dict(facts))


def note_rungs(held: Claim, rungs: Sequence[Mapping[str, Any]]) -> None:
    """Put down the steps down the memory ladder that an attempt took, with their numbers."""
    attempt = Attempt.objects.filter(shard_id=held.shard, fence=held.fence)
    attempt.update(rungs=[dict(rung) for rung in rungs])


def fix_size(held: Claim, available: int) -> int:
    """Settle how many samples a shard has, now that its task was loaded; a long task is cut.

    Args:
        available: Samples of the whole task that belong to the run.

    Returns:
        The planned questions of this shard.

    Raises:
        Fenced: The shard is no longer ours.
    """
    with transaction.atomic():
        shard = _owned(held)
        if shard.size is not None:
            return shard.size
        longest = tuning().slice_samples
        size = min(longest, max(0, available - shard.offset))
        Shard.objects.filter(pk=shard.pk).update(size=size)
        rest = range(shard.offset + size, available, longest) if size else ()
        Shard.objects.bulk_create(
            Shard(
                run_id=shard.run_id,
                task=shard.task,
                offset=offset,
                size=min(longest, available - offset),
                hardware=shard.hardware,
                engine_key=shard.engine_key,
                priority=shard.priority,
                queued_at=shard.queued_at,
            )
            for offset in rest
        )
        return size


def present(held: Claim) -> set[tuple[str, int]]:
    """Return sample id and replicate of every result that need not be made again."""
    rows = SampleResult.objects.filter(shard_id=held.shard).exclude(
        status=SampleResult.Status.INFRA_ERROR
    )
    return set(rows.values_list("sample_id", "replicate"))


def beat(worker: str, held: Mapping[int, int]) -> dict[int, bool]:
    """Renew the leases of shards by their fences.

    Returns:
        For every shard that is still the worker's, whether its run is to stop. A shard that is
        not named is lost.
    """
    with transaction.atomic():
        Worker.objects.filter(pk=worker).update(last_seen=ClockTimestamp())
        if not held:
            return {}
        with connection.cursor() as cursor:
            asked: dict[str, Any] = {
                "lease": tuning().lease,
                "ids": list(held),
                "fences": list(held.values()),
                "worker": worker,
            }
            cursor.execute(_BEAT, asked)
            found = dict(cursor.fetchall())
        Attempt.objects.filter(worker=worker, shard_id__in=found, ended_at=None).update(
            last_heartbeat_at=ClockTimestamp()
        )
    return found


def commit_batch(held: Claim, batch: Sequence[Prepared]) -> int:
    """Store finished samples, all or none; what is stored already is left as it is.

    Safe to repeat when a lost connection leaves it open whether a commit went through.

    Returns:
        How many results were written that need not be made again.

    Raises:
        Fenced: The shard is no longer ours, and nothing was written.
    """
    with transaction.atomic():
        mine = Shard.objects.filter(
            pk=held.shard, fence=held.fence, owner=held.worker, state=State.RUNNING
        )
        if mine.update(lease_until=ClockTimestamp() + tuning().lease) != 1:
            raise Fenced(shard=held.shard, fence=held.fence)
        written = store(batch, run=held.run, shard=held.shard, fence=held.fence)
        if written:
            Shard.objects.filter(pk=held.shard).update(
                progress_done=F("progress_done") + written,
                progressed_at=ClockTimestamp(),
                attempts_no_progress=0,
                deaths_no_progress=0,
                alone=False,
            )
    return written


def finish(held: Claim) -> bool:
    """Complete a shard of which no planned sample is missing; tell whether that is so.

    Raises:
        Fenced: The shard is no longer ours.
    """
    with transaction.atomic():
        shard = _owned(held)
        if shard.size is None or len(present(held)) < shard.size * held.replicates:
            return False
        if shard.state != State.SCORING:
            move(shard, State.SCORING, actor=held.worker)
    with transaction.atomic():
        shard = _owned(held)
        close_attempt(shard, outcome="completed")
        move(shard, State.COMPLETED, actor=held.worker, failure=Failure("", ""))
    return True


def release(held: Claim, ending: Ending) -> None:
    """Let go of a shard that is not finished.

    Raises:
        Fenced: The shard is no longer ours, so there is nothing to let go of.
    """
    with transaction.atomic():
        shard = _owned(held)
        run = lock_run(shard.run_id)
        if is_stopping(run) and ending.kind != "failed":
            failure = Failure(run.failure_id, run.failure_detail) if run.failure_id else CANCELLED
            close_attempt(shard, outcome="cancelled")
            move(shard, State.CANCELLED, actor=held.worker, failure=failure)
            return
        _let_go(shard, held.worker, ending=ending)


def _let_go(shard: Shard, actor: str, *, ending: Ending) -> None:
    failure = ending.failure
    match ending.kind:
        case "failed" | "cancelled":
            # A shard is only cancelled with its run; without that the worker has misheard.
            close_attempt(shard, outcome="failed", detail=failure.detail)
            move(shard, State.FAILED, actor=actor, failure=failure)
        case "drained":
            close_attempt(shard, outcome="drained")
            move(
                shard,
                State.RETRY_WAIT,
                actor=actor,
                failure=DRAINED,
                not_before=ClockTimestamp(),
                attempts_charged=Greatest(F("attempts_charged") - 1, Value(0)),
                attempts_no_progress=Greatest(F("attempts_no_progress") - 1, Value(0)),
            )
        case "died":
            close_attempt(shard, outcome="lost", detail=failure.detail)
            wait = back_off(shard.attempts_no_progress)
            after_death(shard, actor=actor, failure=failure, company=ending.company, wait=wait)
        case "retry":
            close_attempt(shard, outcome="retry", detail=failure.detail)
            wait = back_off(shard.attempts_no_progress) if ending.wait else timedelta()
            move(
                shard,
                State.RETRY_WAIT,
                actor=actor,
                failure=failure,
                not_before=ClockTimestamp() + wait,
            )


def back_off(attempts: int) -> timedelta:
    """Return how long to wait: doubled with every attempt without progress, with full jitter."""
    numbers = tuning()
    longest = numbers.backoff_seconds * 2 ** min(max(attempts - 1, 0), 30)
    bound = min(longest, numbers.backoff_limit_seconds)
    return timedelta(seconds=random.uniform(0, bound))  # noqa: S311 - spreads load, guards nothing


def _owned(held: Claim) -> Shard:
    """Lock the shard if it is still the claim's."""
    shard = (
        Shard.objects.select_for_update(no_key=True)
        .filter(pk=held.shard, fence=held.fence, owner=held.worker, state__in=OWNED)
        .first()
    )
    if shard is None:
        raise Fenced(shard=held.shard, fence=held.fence)
    return shard
