"""Changes of state: a shard moves, the move is written down, and its run follows.

Locks are taken in one order everywhere: shards by id, then their run. Reading what the other
shards of the run are doing happens after the run's lock is held, so that of two shards finishing
at once the second always sees the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from types import MappingProxyType

from django.db import transaction
from django.db.models import QuerySet

from leaderboard.runs.errors import Failure, IllegalMove
from leaderboard.runs.models import Run, Shard, State
from leaderboard.runs.models.work import OWNED, TERMINAL
from leaderboard.runs.services.clock import ClockTimestamp
from leaderboard.runs.services.history import change_run, lock_run, write_event
from leaderboard.runs.services.scoring import conclude

_ENDED_BADLY = (State.QUARANTINED, State.FAILED, State.CANCELLED)

MOVES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        State.QUEUED: frozenset({State.PREPARING, State.FAILED, State.CANCELLED}),
        State.RETRY_WAIT: frozenset({State.PREPARING, State.FAILED, State.CANCELLED}),
        State.PREPARING: frozenset({State.RUNNING, State.SCORING, State.RETRY_WAIT, *_ENDED_BADLY}),
        State.RUNNING: frozenset({State.SCORING, State.RETRY_WAIT, *_ENDED_BADLY}),
        State.SCORING: frozenset({State.COMPLETED, State.RETRY_WAIT, *_ENDED_BADLY}),
    }
)
"""How a shard's state may change; what is not listed never changes."""


def move(
    shard: Shard,
    to: State,
    *,
    actor: str,
    failure: Failure | None = None,
    **changes: object,
) -> None:
    """Move a locked shard, write the event, and let its run follow.

    Args:
        shard: Locked by this transaction, as it stands in the database.
        to: Where it goes.
        actor: Who moves it, such as a worker's id or `user:7`.
        failure: Why, where it did not simply go on.
        changes: Further fields of the shard.

    Raises:
        IllegalMove: States do not change in this way.
    """
    before = shard.state
    if to not in MOVES.get(before, frozenset()):
        raise IllegalMove(shard=shard.pk, before=before, after=to)
    if to not in OWNED:
        changes |= {"owner": None, "lease_until": None}
    if failure is not None:
        changes |= {"failure_id": failure.id, "failure_detail": failure.detail}
    Shard.objects.filter(pk=shard.pk).update(state=to, **changes)
    shard.state = to
    run = lock_run(shard.run_id)
    write_event(run, before, to, actor=actor, failure=failure, shard=shard)
    if to in {State.FAILED, State.QUARANTINED} and failure is not None and not run.failure_id:
        _stop_for(run, failure)
    follow(run, actor=actor)


def lock_shards(run_id: int) -> QuerySet[Shard]:
    """Lock all shards of a run, in the order in which everybody locks them."""
    return Shard.objects.select_for_update(no_key=True).filter(run_id=run_id).order_by("id")


def follow(run: Run, *, actor: str) -> None:
    """Bring a locked run into the state that its shards add up to."""
    states = list(Shard.objects.filter(run=run).values_list("state", flat=True))
    if all(state in TERMINAL for state in states):
        _conclude(run, states, actor=actor)
        return
    state = _live_state(states)
    if state != run.state:
        change_run(run, state, actor=actor)


def stop(run_id: int, *, actor: str, failure: Failure, failed: bool = False) -> bool:
    """End what nobody works on of a run that is to stop; tell whether it has come to rest.

    Shards that a worker holds end when it hears of it with its next heartbeat.

    Args:
        run_id: Key of the run.
        actor: Who stops it.
        failure: Why.
        failed: It is to end as failed, not as cancelled.
    """
    with transaction.atomic():
        shards = list(lock_shards(run_id))
        run = lock_run(run_id)
        if run.state in TERMINAL:
            return True
        if not is_stopping(run):
            _note_stop(run, failure if failed else None)
        for shard in shards:
            if shard.state in {State.QUEUED, State.RETRY_WAIT}:
                move(shard, State.CANCELLED, actor=actor, failure=failure)
        run.refresh_from_db()
        return run.state in TERMINAL


def is_stopping(run: Run) -> bool:
    """Tell whether the run was cancelled, or failed in one shard while others were at work."""
    return run.cancel_requested_at is not None or bool(run.failure_id)


def _note_stop(run: Run, failure: Failure | None) -> None:
    """Note on a locked run that it is to stop, and why if that is a failure."""
    if failure is None:
        run.cancel_requested_at = ClockTimestamp()
    else:
        run.failure_id, run.failure_detail = failure.id, failure.detail
    run.save(update_fields=["cancel_requested_at", "failure_id", "failure_detail"])
    run.refresh_from_db()


def _stop_for(run: Run, failure: Failure) -> None:
    """Note why the run will fail; its other shards are ended after this transaction."""
    run.failure_id, run.failure_detail = failure.id, failure.detail
    run.save(update_fields=["failure_id", "failure_detail"])
    transaction.on_commit(partial(stop, run.pk, actor="system", failure=failure), robust=True)


def _live_state(states: Iterable[str]) -> State:
    present = set(states)
    for state in (State.RUNNING, State.PREPARING, State.SCORING, State.RETRY_WAIT):
        if state in present:
            return state
    # Between two shards nobody may be at work, and still the run has begun.
    return State.RUNNING if State.COMPLETED in present else State.QUEUED


def _conclude(run: Run, states: Iterable[str], *, actor: str) -> None:
    present = set(states)
    if run.state in TERMINAL:
        return
    for state in _ENDED_BADLY:
        if state in present:
            reason = _reason(run, state)
            # its shards were cancelled because the run had failed as a whole
            ended = State.FAILED if run.failure_id and state == State.CANCELLED else state
            change_run(run, ended, actor=actor, failure=reason)
            return
    conclude(run, actor=actor)


def _reason(run: Run, state: State) -> Failure:
    if run.failure_id:
        return Failure(run.failure_id, run.failure_detail)
    shard = Shard.objects.filter(run=run, state=state).exclude(failure_id="").first()
    return Failure(shard.failure_id, shard.failure_detail) if shard else Failure("run:app:internal")
