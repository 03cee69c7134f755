"""The history of a run: every change of its state is an event with the next number."""

from __future__ import annotations

from functools import partial

from django.db import transaction
from django.db.models import Max

from leaderboard.runs.errors import Failure
from leaderboard.runs.models import Event, Run, Shard, State
from leaderboard.runs.models.work import OWNED, TERMINAL
from leaderboard.runs.services.clock import ClockTimestamp
from leaderboard.runs.signals import run_finished


def lock_run(run_id: int) -> Run:
    """Lock a run until the end of the transaction; rows that point to it may still be added."""
    return Run.objects.select_for_update(no_key=True).get(pk=run_id)


def write_event(
    run: Run,
    before: str,
    after: str,
    *,
    actor: str,
    failure: Failure | None = None,
    shard: Shard | None = None,
) -> None:
    """Append to the history of a locked run."""
    last = Event.objects.filter(run=run).aggregate(last=Max("seq"))["last"] or 0
    reason = f"{failure.id} {failure.detail}".strip() if failure else ""
    Event.objects.create(
        run=run,
        seq=last + 1,
        shard=shard,
        from_state=before,
        to_state=after,
        actor=actor,
        reason=reason,
        at=ClockTimestamp(),
    )


def change_run(
    run: Run, to: State, *, actor: str, failure: Failure | None = None, **changes: object
) -> None:
    """Write a locked run's new state with its event, and tell listeners once it is for good."""
    before, run.state = run.state, to
    changes["state"] = to
    if failure is not None:
        changes |= {"failure_id": failure.id, "failure_detail": failure.detail}
    if run.started_at is None and to in OWNED:
        changes["started_at"] = ClockTimestamp()
    if to in TERMINAL:
        changes["finished_at"] = ClockTimestamp()
        transaction.on_commit(partial(run_finished.send_robust, sender=Run, run_id=run.pk))
    Run.objects.filter(pk=run.pk).update(**changes)
    write_event(run, before, to, actor=actor, failure=failure)
