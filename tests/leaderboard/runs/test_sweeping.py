"""The sweeper mends what the dead left behind, however many of it go round at once."""

from __future__ import annotations

import threading
from datetime import timedelta

from django.db import connection
from django.test import override_settings

from leaderboard.runs import services
from leaderboard.runs.errors import CANCELLED
from leaderboard.runs.invariants import broken
from leaderboard.runs.models import Attempt, Run, Shard, State, Worker
from leaderboard.runs.services.clock import ClockTimestamp
from tests.leaderboard.runs.conftest import expire


def test_a_lost_shard_waits_for_the_next_worker(submit, begin):
    submit("reask")
    held = begin()
    expire(held)
    assert services.sweep().lost == 1
    shard = Shard.objects.get()
    assert (shard.state, shard.failure_id) == (State.RETRY_WAIT, "run:app:worker-lost")
    assert Attempt.objects.get().outcome == "lost"
    assert services.sweep().lost == 0
    assert broken() == []


def test_a_lease_that_holds_is_left_alone(submit, begin):
    submit("reask")
    begin()
    assert services.sweep().lost == 0


def test_a_cancelled_run_whose_owner_died_is_cancelled(submit, begin):
    (run,) = submit("reask")
    held = begin()
    services.cancel(run=run, actor="user:1")
    expire(held)
    services.sweep()
    run.refresh_from_db()
    assert (run.state, run.failure_id) == (State.CANCELLED, "run:user:cancelled")
    assert broken() == []


def test_what_waits_of_a_stopping_run_is_ended(submit):
    (run,) = submit("reask")
    Run.objects.filter(pk=run.pk).update(cancel_requested_at=ClockTimestamp())
    assert services.sweep().stopped == 1
    run.refresh_from_db()
    assert run.state == State.CANCELLED


@override_settings(REDRAFT_RUN_SECONDS=3600, REDRAFT_SLICE_SAMPLES=12)
def test_an_overdue_run_fails_once_its_workers_have_let_go(submit, begin):
    (run,) = submit("reask", limit=24)
    held = begin()
    assert services.sweep().overdue == 0
    Run.objects.filter(pk=run.pk).update(started_at=ClockTimestamp() - timedelta(minutes=61))
    assert services.sweep().overdue == 1
    states = list(run.shards.order_by("id").values_list("state", flat=True))
    assert states == [State.RUNNING, State.CANCELLED]
    assert services.beat("worker-1", {held.shard: held.fence}) == {held.shard: True}
    services.release(held, services.Ending("cancelled", CANCELLED))
    run.refresh_from_db()
    assert (run.state, run.failure_id) == (State.FAILED, "run:app:deadline")
    assert run.failure_detail == "it is not finished after 3600 s"
    assert services.sweep().overdue == 0
    assert broken() == []


def test_silent_workers_are_buried(submit, take):
    take("old")
    Worker.objects.update(last_seen=ClockTimestamp() - timedelta(minutes=10), state="busy")
    take("young")
    assert services.sweep().workers == 1
    assert dict(Worker.objects.values_list("id", "state")) == {"old": "stopped", "young": "idle"}


def test_three_sweepers_at_once_do_everything_once(transactional_db, submit, begin):
    for seed in range(12):
        submit("reask", seed=seed)
    for held in [begin(f"worker-{number}") for number in range(12)]:
        expire(held)
    found, start = [], threading.Barrier(3)

    def go():
        start.wait()
        try:
            found.append(services.sweep().lost)
        finally:
            connection.close()

    threads = [threading.Thread(target=go) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(found) == 12
    assert set(Shard.objects.values_list("deaths_no_progress", flat=True)) == {1}
    assert broken() == []
