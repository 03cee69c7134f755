"""Zombies, crash loops, lost connections and lost brokers: each is survived without a hand."""

from __future__ import annotations

import os
import signal
import time

import pytest
from django.db import connection

from leaderboard.runs import services
from leaderboard.runs.invariants import broken
from leaderboard.runs.models import Attempt, SampleResult, Shard, State
from tests.faults.conftest import NUMBERS, descendants, done, ended, export, kill, wait_for

pytestmark = [pytest.mark.faults]


def test_a_stopped_worker_wakes_up_and_writes_nothing(processes, submit):
    """R2: SIGSTOP the owner for longer than its lease; all that it writes afterwards is refused."""
    run = submit(delay=0.1, limit=120)
    zombie = processes.worker()
    wait_for(lambda: done(run) > 0, 40, "the first batch is stored")
    os.kill(zombie.pid, signal.SIGSTOP)
    stored = set(SampleResult.objects.filter(run=run).values_list("sample_id", flat=True))
    heir = processes.worker()
    wait_for(lambda: done(run) > len(stored), 40, "the heir has stored something")
    os.kill(zombie.pid, signal.SIGCONT)
    wait_for(lambda: ended(run), 60, "the run has ended")
    assert run.state == State.COMPLETED
    assert heir.poll() is None
    first = Attempt.objects.get(fence=1)
    late = SampleResult.objects.filter(run=run, fence=1, committed_at__gt=first.ended_at)
    assert not late.exists()
    assert set(SampleResult.objects.filter(run=run).values_list("fence", flat=True)) == {1, 2}
    assert broken() == []


def test_work_goes_on_elsewhere_within_two_leases(processes, submit):
    """R3: from the kill to the next sample of another worker."""
    run = submit(delay=0.1, limit=120)
    first, second = processes.worker(), processes.worker()
    wait_for(lambda: done(run) > 0, 40, "the first batch is stored")
    owner = Shard.objects.get(run=run).owner
    pids = dict(services.leases.Worker.objects.values_list("id", "pid"))
    victim = first if pids[owner] == first.pid else second
    before = done(run)
    kill(victim)
    took = wait_for(lambda: done(run) > before, 40, "another worker has stored something")
    assert took <= 2 * NUMBERS["REDRAFT_LEASE_SECONDS"] + 3  # and its tasks and model have to load
    wait_for(lambda: ended(run), 60, "the run has ended")
    assert run.state == State.COMPLETED
    assert broken() == []


def test_a_crash_loop_is_quarantined_and_the_others_finish(processes, submit):
    """R12: a run whose model dies in its second call, among good ones."""
    bad = submit(fail_after=1, limit=24)
    good = [submit(delay=0.01, limit=24, seed=seed) for seed in range(4)]
    worker = processes.worker()
    wait_for(lambda: ended(bad, *good), 90, "all runs have ended")
    assert (bad.state, bad.failure_id) == (State.QUARANTINED, "run:app:quarantined")
    assert Attempt.objects.filter(shard__run=bad).count() == 3
    assert {run.state for run in good} == {State.COMPLETED}
    assert broken() == []
    assert worker.poll() is None


def test_lost_connections_lose_nothing(processes, submit):
    """R7, small: the database drops every connection again and again, also within commits."""
    run = submit(delay=0.05, limit=240)
    worker = processes.worker()
    wait_for(lambda: done(run) > 0, 40, "the first batch is stored")
    dropped = 0
    while not ended(run):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            dropped += cursor.fetchone()[0]
        time.sleep(0.7)
    assert dropped >= 6
    assert run.state == State.COMPLETED
    assert run.results.count() == 240
    assert Attempt.objects.filter(shard__run=run).count() <= 2
    assert broken() == []
    assert worker.poll() is None


def test_sigterm_lets_go_within_seconds_and_charges_nothing(processes, submit):
    """A deploy: SIGTERM, another worker, and so on; nobody is charged."""
    run = submit(delay=0.1, limit=120)
    for _ in range(2):
        worker = processes.worker()
        before = done(run)
        wait_for(lambda: done(run) > before, 40, "something is stored")  # noqa: B023 - used at once
        family = descendants(worker.pid)
        worker.terminate()
        assert worker.wait(timeout=NUMBERS["REDRAFT_DRAIN_SECONDS"]) == 0
        assert not [pid for pid in family if pid in processes.alive()]
        shard = Shard.objects.get(run=run)
        assert (shard.state, shard.attempts_charged) == (State.RETRY_WAIT, 0)
    processes.worker()
    wait_for(lambda: ended(run), 60, "the run has ended")
    assert run.state == State.COMPLETED
    undisturbed = submit(delay=0.0, limit=120)
    wait_for(lambda: ended(undisturbed), 60, "the undisturbed run has ended")
    assert export(run) == export(undisturbed)
    assert broken() == []


def test_cancelling_ends_within_seconds(processes, submit):
    """R11, small: cancelled at several moments with a live worker."""
    processes.worker()
    for number, moment in enumerate((0.0, 0.6, 1.2)):
        run = submit(delay=0.3, limit=240, seed=number)
        time.sleep(moment)
        services.cancel(run=run, actor="user:1")
        assert wait_for(lambda: ended(run), 15, "the run has ended") <= 5  # noqa: B023 - used at once
        assert run.state == State.CANCELLED
        rows = run.results.count()
        time.sleep(0.5)
        assert run.results.count() == rows
    assert broken() == []


@pytest.mark.parametrize("broker", ["redis://127.0.0.1:1/0", "filesystem://"])
def test_work_needs_no_broker(database_url, tmp_path, submit, broker):
    """R4 and R5, small: the broker refuses, or has lost every message."""
    from tests.faults.conftest import Processes

    found = Processes(database_url, tmp_path, broker=broker)
    try:
        runs = [submit(limit=24, seed=seed) for seed in range(4)]
        worker = found.worker("--hardware=cpu")  # with Celery, whose broker is of no use
        wait_for(lambda: ended(*runs), 60, "all runs have ended")
        assert {run.state for run in runs} == {State.COMPLETED}
        worker.terminate()
        assert worker.wait(timeout=15) == 0
    finally:
        found.stop()
    assert found.alive() == []
