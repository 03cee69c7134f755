"""One long task on several workers at once, whatever happens to them."""

from __future__ import annotations

import random

import pytest

from leaderboard.runs.invariants import broken
from leaderboard.runs.models import Attempt, State
from tests.faults.conftest import NUMBERS, done, ended, export, kill, made_twice, wait_for

pytestmark = [pytest.mark.faults]

KILLS = 4


def test_two_workers_share_one_task_and_killing_either_changes_nothing(processes, submit):
    """R1 with two workers: shards of one task are claimed independently; each is killed in turn."""
    moments = random.Random(7)  # noqa: S311 - seeded on purpose
    run = submit(delay=0.15, slices=20)
    workers = [processes.worker(), processes.worker()]
    for number in range(KILLS):
        goal = done(run) + moments.randint(4, 16)
        wait_for(lambda: done(run) >= min(goal, 240), 60, "progress")  # noqa: B023 - used at once
        kill(workers[number % 2])
        assert broken() == []
        workers[number % 2] = processes.worker()
    wait_for(lambda: ended(run), 60, "the run has ended")

    undisturbed = submit(delay=0.0, slices=20)
    wait_for(lambda: ended(undisturbed), 60, "the undisturbed run has ended")
    assert (run.state, undisturbed.state) == (State.COMPLETED, State.COMPLETED)
    assert (run.results.count(), run.shards.count()) == (240, 12)
    assert export(run) == export(undisturbed)
    assert run.manifest["results"] == undisturbed.manifest["results"]
    assert broken() == []

    attempts = Attempt.objects.filter(shard__run=run)
    assert len(set(attempts.values_list("worker", flat=True))) >= 2
    lost = attempts.filter(outcome="lost").count()
    assert made_twice(run) <= lost * NUMBERS["REDRAFT_BATCH_SAMPLES"]
    processes.stop()
    assert processes.alive() == []


def test_a_worker_leaves_to_others_what_does_not_fit(processes, submit):
    """Both workers are at the same task at the same time: neither takes all that there is."""
    run = submit(delay=0.2, slices=40)
    processes.worker()
    processes.worker()

    def owners() -> set[str]:
        held = run.shards.filter(state=State.RUNNING)
        return set(held.values_list("owner", flat=True))

    wait_for(lambda: len(owners()) == 2, 60, "both workers are at the run")
    wait_for(lambda: ended(run), 60, "the run has ended")
    assert run.state == State.COMPLETED
    completed = Attempt.objects.filter(shard__run=run, outcome="completed")
    assert len(set(completed.values_list("worker", flat=True))) == 2
    assert Attempt.objects.filter(shard__run=run).count() == 6
    assert broken() == []
