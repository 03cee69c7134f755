"""A machine's GPUs are shared out between slots, and owned by one process at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from leaderboard.runs.invariants import broken
from leaderboard.runs.models import Shard, State, Worker
from tests.faults.conftest import descendants, ended, wait_for

pytestmark = [pytest.mark.faults]


def devices_of_runtimes(pid: int) -> set[str]:
    """CUDA_VISIBLE_DEVICES of every model that runs below a process."""
    found = set()
    for child in descendants(pid):
        try:
            if b"runtimes.echo" not in Path(f"/proc/{child}/cmdline").read_bytes():
                continue
            environment = Path(f"/proc/{child}/environ").read_bytes()
        except OSError:
            continue
        variables = dict(v.split(b"=", 1) for v in environment.split(b"\0") if b"=" in v)
        if b"CUDA_VISIBLE_DEVICES" in variables:
            found.add(variables[b"CUDA_VISIBLE_DEVICES"].decode())
    return found


def test_slots_own_disjoint_devices_and_serve_what_fits(processes, submit):
    one = submit(limit=96, seed=0, delay=0.3)
    two = submit(limit=96, seed=1, delay=0.31)
    cpu = submit(limit=24, seed=2, delay=0.1)
    large = submit(limit=24, seed=3)
    for run, need in ((one, "gpu:2"), (two, "gpu-h200"), (large, "gpu:3")):
        Shard.objects.filter(run=run).update(hardware=need)
    machine = processes.worker(
        "--no-celery", "--class", "gpu-h200,cpu", "--gpus", "4,5,6,7", "--slots", "2"
    )
    seen = set()

    def both_at_work() -> bool:
        seen.update(devices_of_runtimes(machine.pid))
        held = Shard.objects.filter(run__in=(one, two), state=State.RUNNING)
        return len(set(held.values_list("owner", flat=True))) == 2 and len(seen - {""}) == 2

    wait_for(both_at_work, 60, "two models run side by side")
    # a model sees as many of its slot's devices as it needs, and what runs on the CPU sees none
    assert seen - {""} in ({"4,5", "6"}, {"6,7", "4"})
    rows = {tuple(row.devices): row for row in Worker.objects.exclude(devices=[])}
    assert set(rows) == {("4", "5"), ("6", "7")}
    assert {row.state for row in rows.values()} == {"running"}
    assert {tuple(row.hardware) for row in rows.values()} == {("gpu-h200",)}

    # another process gets none of them while this one lives
    other = processes.worker("--no-celery", "--class=gpu", "--gpus=7")
    assert other.wait(timeout=30) == 1
    assert "GPU 7 is leased to process" in processes.log.read_text()

    wait_for(lambda: ended(one, two, cpu), 90, "what fits has ended")
    assert {run.state for run in (one, two, cpu)} == {State.COMPLETED}
    large.refresh_from_db()
    assert large.state == State.QUEUED  # no slot has three GPUs
    machine.terminate()
    assert machine.wait(timeout=30) == 0
    assert broken() == []
