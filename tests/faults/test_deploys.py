"""Deploys during work: workers are replaced one after the other, and nobody is charged for it."""

from __future__ import annotations

import pytest

from leaderboard.runs.invariants import broken
from leaderboard.runs.models import Attempt, Shard, State
from tests.faults.conftest import NUMBERS, done, ended, made_twice, wait_for

pytestmark = [pytest.mark.faults]

DEPLOYS = 4
RUNS = 10


def test_rolling_deploys_charge_nobody(processes, submit):
    """R10, light: both workers are replaced in turn while ten runs are under way."""
    runs = [submit(limit=48, slices=24, seed=seed, delay=0.1) for seed in range(RUNS)]
    workers = [processes.worker(), processes.worker()]
    for number in range(DEPLOYS):
        before = done(*runs)
        wait_for(lambda: done(*runs) > before, 60, "something is stored")  # noqa: B023 - used at once
        old = workers[number % 2]
        old.terminate()
        assert old.wait(timeout=NUMBERS["REDRAFT_DRAIN_SECONDS"] + 5) == 0
        workers[number % 2] = processes.worker()
    wait_for(lambda: ended(*runs), 90, "all runs have ended")
    assert {run.state for run in runs} == {State.COMPLETED}
    assert set(Attempt.objects.values_list("outcome", flat=True)) <= {"completed", "drained"}
    # what is left of the charge is the attempt that completed the shard
    assert set(Shard.objects.values_list("attempts_charged", flat=True)) == {1}
    drained = Attempt.objects.filter(outcome="drained").count()
    assert sum(map(made_twice, runs[:1])) <= drained * NUMBERS["REDRAFT_BATCH_SAMPLES"]
    assert broken() == []
