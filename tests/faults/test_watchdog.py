"""A runtime that lives and says nothing is found, killed and replaced."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from leaderboard.runs.invariants import broken
from leaderboard.runs.models import Attempt, State
from tests.faults.conftest import NUMBERS, Processes, descendants, done, ended, made_twice, wait_for

pytestmark = [pytest.mark.faults]

STALL = 8.0
CANARY = 0.5


def runtimes(worker) -> list[int]:
    """Processes below a worker that serve a model; the innermost is the model's own."""
    found = [pid for pid in descendants(worker.pid) if b"runtimes.echo" in command(pid)]
    return [pid for pid in found if command(pid).split(b"\0")[0].endswith(b"python")]


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_a_silent_runtime_is_replaced(database_url, tmp_path, submit):
    """R14: stopped in the middle of its work, it is asked for one token and then given up."""
    numbers = {"REDRAFT_STALL_SECONDS": STALL, "REDRAFT_CANARY_SECONDS": CANARY}
    found = Processes(database_url, tmp_path, **numbers)
    try:
        run = submit(limit=120, delay=0.1)
        worker = found.worker()
        wait_for(lambda: done(run) > 0, 60, "the first batch is stored")
        silent = runtimes(worker)
        for pid in silent:
            os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: Attempt.objects.filter(outcome="retry").exists(), 60, "it is given up")
        wait_for(lambda: not set(silent) & set(runtimes(worker)), 10, "it is gone")
        wait_for(lambda: ended(run), 60, "the run has ended")
        assert worker.poll() is None
    finally:
        found.stop()
    assert run.state == State.COMPLETED
    first, second = Attempt.objects.order_by("fence")
    assert first.detail.startswith("not a single token came out of the runtime within")
    assert second.outcome == "completed"
    assert made_twice(run) <= NUMBERS["REDRAFT_BATCH_SAMPLES"]
    assert run.shards.get().deaths_no_progress == 0
    assert broken() == []
