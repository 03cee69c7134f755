"""Killing workers and runtimes at any moment loses nothing, doubles nothing, changes nothing."""

from __future__ import annotations

import random
import time
from functools import partial

import pytest

from leaderboard.runs.invariants import broken
from leaderboard.runs.models import Attempt, State
from tests.faults.conftest import NUMBERS, done, ended, export, kill, made_twice, wait_for

pytestmark = [pytest.mark.faults]

KILLS = 10


def test_ten_kills_change_nothing(processes, submit):
    """R1: `kill -9` of worker and runtime at ten seeded moments, from loading to scoring."""
    moments = random.Random(20250)  # noqa: S311 - seeded on purpose
    run = submit(delay=0.15)
    for number in range(KILLS):
        worker = processes.worker()
        if number % 3 == 0:
            time.sleep(moments.uniform(0.5, 3.5))  # Django, plugins, tasks, the model
        else:
            goal = done(run) + moments.randint(1, 24)
            # the last but one finds the run between its last sample and its end
            wait_for(partial(reached, run, 240 if number == KILLS - 2 else goal), 60, "progress")
            time.sleep(moments.uniform(0, 0.3))  # between batches, or inside a commit
        kill(worker)
        assert broken() == []
    processes.worker()
    wait_for(lambda: ended(run), 60, "the run has ended")

    undisturbed = submit(delay=0.0)
    wait_for(lambda: ended(undisturbed), 60, "the undisturbed run has ended")
    assert (run.state, undisturbed.state) == (State.COMPLETED, State.COMPLETED)
    assert run.results.count() == 240
    assert export(run) == export(undisturbed)
    order = ("task", "position")
    hashes = [
        list(r.results.order_by(*order).values_list("row_hash", flat=True))
        for r in (run, undisturbed)
    ]
    assert hashes[0] == hashes[1]
    assert run.manifest["results"] == undisturbed.manifest["results"]
    assert broken() == []

    lost = Attempt.objects.filter(shard__run=run, outcome="lost").count()
    assert lost >= KILLS // 2
    assert made_twice(run) <= lost * NUMBERS["REDRAFT_BATCH_SAMPLES"]
    processes.stop()
    assert processes.alive() == []


def reached(run, goal: int) -> bool:
    return done(run) >= min(goal, 240)
