"""All that a worker asks of the server: claim, start, beat, commit, finish, release.

The row of a shard says who may write: its owner, with its fence, for as long as the lease lasts.
`SKIP LOCKED` gives claims their speed, the fence gives them their safety.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from django.db import connection, transaction
from django.db.models import F, Value
from django.db.models.functions import Greatest

from leaderboard.runs.errors import CANCELLED, DRAINED, Failure, Fenced
from leaderboard.runs.models import Attempt, Run, SampleResult, Shard, State, Worker
from leaderboard.runs.models.work import OWNED
from leaderboard.runs.services.clock import ClockTimestamp
from leaderboard.runs.services.history import lock_run
from leaderboard.runs.services.recovery import after_death, close_attempt, recover_lost
from leaderboard.runs.services.rows import Prepared
from leaderboard.runs.services.storing import store
from leaderboard.runs.services.transitions import is_stopping, move
from leaderboard.runs.tuning import Tuning, tuning

_PICK = """
WITH pick AS (
  SELECT s.id, s.state AS before
    FROM runs_shard s JOIN runs_run r ON r.id = s.run_id
   WHERE s.hardware = ANY(%(classes)s) AND r.evaluator_id = ANY(%(evaluators)s)
     AND r.cancel_requested_at IS NULL AND r.failure_id = ''
     AND s.attempts_charged < %(most)s
     AND (s.state = 'QUEUED'
          OR (s.state = 'RETRY_WAIT' AND s.not_before <= clock_timestamp()))
   ORDER BY s.priority DESC, (s.queued_at < clock_timestamp() - %(aged)s) DESC,
            (s.engine_key = %(warm)s) DESC, s.queued_at, s.id
   LIMIT 1 FOR NO KEY UPDATE OF s SKIP LOCKED)
SELECT pick.id FROM pick JOIN runs_shard s ON s.id = pick.id
 WHERE NOT %(company)s OR (s.engine_key = %(warm)s AND NOT s.alone)
"""

_BEAT = """
UPDATE runs_shard s SET lease_until = clock_timestamp() + %(lease)s
  FROM runs_run r, unnest(%(ids)s::bigint[], %(fences)s::bigint[]) AS held(id, fence)
 WHERE r.id = s.run_id AND s.id = held.id AND s.fence = held.fence AND s.owner = %(worker)s
RETURNING s.id, r.cancel_requested_at IS NOT NULL OR r.failure_id <> ''
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """A shard in a worker's hands, with everything it needs to work on it."""

    shard: int
    run: int
    fence: int
    worker: str
    run_id: str
    """The run's public id, for log lines."""
    engine_key: str
    task: str
    offset: int
    size: int | None
    """Planned samples; None until the task was loaded once."""
    limit: int | None
    """Samples of the whole task that belong to the run; None means all."""
    seed: int
    evaluator: str
    evaluator_digest: str
    params: Mapping[str, Any]
    model: Mapping[str, Any]
    """Fields of `evaluators.runtimes.ModelSpec`."""
    has_chat_template: bool
    suite: int
    tasks: Sequence[Mapping[str, Any]]
    """Fields of `evaluators.tasks.TaskSpec` of every task of the suite."""
    alone: bool
    """May have no company: it was aboard when a worker or runtime died."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a worker lets go of a shard that it did not finish."""

    kind: Literal["drained", "cancelled", "died", "retry", "failed"]
    failure: Failure
    company: bool = False
    """Other shards were aboard when the runtime died, so this one is not to blame alone."""
    wait: bool = field(default=True)
    """Wait before the next attempt."""


def claim(
    worker: str,
    *,
    classes: Collection[str],
    evaluators: Collection[int],
    warm: str = "",
    company: bool = False,
    isolation: str = "",
) -> Claim | None:
    """Take the shard that is next, or nothing; what dead workers held is taken from them first.

    Args:
        worker: Who claims; new at every start of a process.
        classes: Hardware classes that the worker serves.
        evaluators: Evaluator versions that it has installed.
        warm: Engine key of the runtime it keeps; equal shards go first for ten minutes.
        company: The worker is busy: only a shard of the same engine will do, and only if that is
            next and needs not be alone.
        isolation: How the worker confines its runtimes.
    """
    recover_lost()
    numbers = tuning()
    with transaction.atomic():
        with connection.cursor() as cursor:
            wanted: dict[str, Any] = {
                "classes": list(classes),
                "evaluators": list(evaluators),
                "most": numbers.max_charged,
                "aged": timedelta(seconds=numbers.aged_seconds),
                "warm": warm,
                "company": company,
            }
            cursor.execute(_PICK, wanted)
            picked = cursor.fetchone()
        if picked is None:
            return None
        shard = Shard.objects.select_related("run").get(pk=picked[0])
        _take(shard, worker, numbers=numbers)
        Attempt.objects.create(
            shard=shard, fence=shard.fence + 1, worker=worker, isolation=isolation
        )
        return _claim_of(shard, worker)


def _take(shard: Shard, worker: str, *, numbers: Tuning) -> None:
    move(
        shard,
        State.PREPARING,
        actor=worker,
        owner=worker,
        fence=shard.fence + 1,
        lease_until=ClockTimestamp() + numbers.lease,
        not_before=None,
        attempts_total=F("attempts_total") + 1,
        attempts_charged=F("attempts_charged") + 1,
        attempts_no_progress=F("attempts_no_progress") + 1,
    )


def _claim_of(shard: Shard, worker: str) -> Claim:
    run = Run.objects.select_related("model", "suite", "evaluator").get(pk=shard.run_id)
    entries = [dict(entry) for entry in run.suite.definition]
    limits = {entry["name"]: entry.pop("limit", None) for entry in entries}
    bounds = [bound for bound in (run.limit, limits.get(shard.task)) if bound is not None]
    return Claim(
        shard=shard.pk,
        run=run.pk,
        fence=shard.fence + 1,
        worker=worker,
        run_id=run.public_id,
        engine_key=shard.engine_key,
        task=shard.task,
        offset=shard.offset,
        size=shard.size,
        limit=min(bounds, default=None),
        seed=run.seed,
        evaluator=run.evaluator.name,
        evaluator_digest=run.evaluator.digest,
        params=run.params,
        model={
            "runtime": run.model.runtime,
            "model": run.model.model_class,
            "args": run.model.args,
            "batch_size": run.model.batch_size,
        },
        has_chat_template=run.model.has_chat_template,
        suite=run.suite_id,
        tasks=entries,
        alone=shard.alone,
    )


def start(held: Claim, *, facts: Mapping[str, Any]) -> None:
    """Say that the work begins, and with what.

    Raises:
        Fenced: The shard is no longer ours.
    """
    with transaction.atomic():
        shard = _owned(held)
        move(shard, State.RUNNING, actor=held.worker, facts=dict(facts))


def fix_size(held: Claim, available: int) -> int:
    """Settle how many samples a shard has, now that its task was loaded; a long task is cut.

    Args:
        available: Samples of the whole task that belong to the run.

    Returns:
        The planned samples of this shard.

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
        if shard.size is None or len(present(held)) < shard.size:
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
