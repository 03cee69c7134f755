"""The database crashes under a whole server: nothing is lost, and no hand is needed."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from leaderboard.runs.models import State
from leaderboard.runs.presentation import PUBLIC_STATES
from tests.e2e.conftest import Site, end_site, start_site
from tests.faults.conftest import wait_for

pytestmark = [pytest.mark.faults]

SAMPLES = 240
CRASHES = (signal.SIGQUIT, signal.SIGKILL, signal.SIGQUIT)
"""Immediate shutdown, which is PostgreSQL's word for a crash, and the main process killed."""

INVARIANTS = "from leaderboard.runs.invariants import broken; print(broken())"
OUTCOMES = """
from leaderboard.runs.models import Attempt, SampleResult
print(SampleResult.objects.count(), sorted(set(Attempt.objects.values_list("outcome", flat=True))))
"""


@pytest.fixture
def server():
    found = start_site(
        REDRAFT_LEASE_SECONDS="6",
        REDRAFT_HEARTBEAT_SECONDS="1",
        REDRAFT_SWEEP_SECONDS="1",
        REDRAFT_BATCH_SAMPLES="8",
        REDRAFT_BATCH_SECONDS="0.5",
        REDRAFT_BACKOFF_SECONDS="0.1",
        REDRAFT_WORKER_HARDWARE="cpu",
    )
    yield found
    end_site(found)


def test_crashes_of_the_database_lose_nothing(server):
    """R7: crash-restarts during a run, one of them by SIGKILL; pages say 503 meanwhile."""
    words = ("submit", "echo", "reask", "--suite", "flips", "--no-controls")
    told = server.manage(*words, "--model-args", "delay=0.3")
    run = told.split()[0]
    wait_for(lambda: progress(server, run) > 0, 90, "something is stored")
    seen = set()
    for sign in CRASHES:
        before = progress(server, run)
        crashed = postmaster(server)
        os.kill(crashed, sign)
        # what pages say while it is away, until another one answers
        wait_for(lambda: not_crashed(server, crashed, seen), 60, "the database is back")  # noqa: B023 - used at once
        back = time.monotonic()
        wait_for(lambda: progress(server, run) > min(before, SAMPLES - 1), 60, "work goes on")  # noqa: B023 - used at once
        assert time.monotonic() - back <= 30
    assert seen <= {200, 503}
    wait_for(lambda: state(server, run) == PUBLIC_STATES[State.COMPLETED], 120, "the run has ended")
    rows, outcomes = shell(server, OUTCOMES).split(" ", 1)
    assert int(rows) == SAMPLES
    assert set(json.loads(outcomes.replace("'", '"'))) <= {"completed", "lost"}
    assert shell(server, INVARIANTS) == "[]"


def not_crashed(server: Site, crashed: int, seen: set[int]) -> bool:
    """Ask for a page, note its status, and tell whether another server answers it."""
    status, _ = get(server, "/status/")
    seen.add(status)
    return status == 200 and postmaster(server) != crashed


def get(server: Site, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(server.url + path, timeout=20) as answer:  # noqa: S310 - our own
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        assert "Traceback" not in text
        return error.code, text


def run_json(server: Site, run: str) -> dict:
    status, text = get(server, f"/runs/{run}/?format=json")
    return json.loads(text) if status == 200 else {}


def progress(server: Site, run: str) -> int:
    return sum(shard["done"] for shard in run_json(server, run).get("shards", []))


def state(server: Site, run: str) -> str:
    return run_json(server, run).get("state", "")


def shell(server: Site, code: str) -> str:
    return server.manage("shell", "--no-imports", "-c", code).strip()


def postmaster(server: Site) -> int:
    """Process id of the embedded server, from the file that it keeps; 0 while there is none."""
    root = server.folder / "var" / "postgres"
    cluster = Path((root / "home").read_text())
    try:
        return int((cluster / "data" / "postmaster.pid").read_text().split()[0])
    except (OSError, IndexError):
        return 0
