"""Commits whose acknowledgement is lost: nobody knows whether they happened, and all is well."""

from __future__ import annotations

import pytest

from leaderboard.runs.invariants import broken
from leaderboard.runs.models import Attempt, State
from tests.faults.conftest import Processes, ended, export, wait_for
from tests.faults.proxy import FaultProxy

pytestmark = [pytest.mark.faults]


def test_unacknowledged_commits_lose_and_double_nothing(database_url, tmp_path, submit):
    """R8: the proxy swallows the acknowledgement of one commit in twenty."""
    proxy = FaultProxy(database_url, share=0.05, seed=20250)
    found = Processes(proxy.url, tmp_path)
    try:
        runs = [submit(limit=240, slices=40, seed=seed, delay=0.01) for seed in range(3)]
        worker = found.worker()
        wait_for(lambda: ended(*runs), 90, "all runs have ended")
        assert worker.poll() is None
    finally:
        found.stop()
        proxy.close()
    assert proxy.swallowed >= 5
    assert {run.state for run in runs} == {State.COMPLETED}
    assert [run.results.count() for run in runs] == [240, 240, 240]
    assert export(runs[0]) == export(runs[1]) == export(runs[2])
    # a claim that was not heard of is lost with its lease; nothing else is, and nothing failed
    outcomes = set(Attempt.objects.values_list("outcome", flat=True))
    assert outcomes <= {"completed", "lost"}
    assert broken() == []
