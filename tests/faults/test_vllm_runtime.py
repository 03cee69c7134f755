"""Kills change nothing with the vllm runtime either; a stand-in for its engine holds a stub GPU."""

from __future__ import annotations

import json
import random
import struct
import tempfile
import time
from pathlib import Path

import pytest
from django.test import override_settings

from evaluators.runtimes.vllm_install import COMMAND, PYTHON
from evaluators.testing.stub_engine import Behaviour, command
from evaluators.testing.stub_gpu import StubGpu
from leaderboard.accounts.models import User
from leaderboard.catalog.models import EvaluatorVersion, Suite
from leaderboard.catalog.services import register_model
from leaderboard.runs import services
from leaderboard.runs.invariants import broken
from leaderboard.runs.models import Run, State
from tests.faults.conftest import REPOSITORY, done, ended, export, kill, wait_for

pytestmark = [pytest.mark.faults]

KILLS = 5
SAMPLES = 120


@pytest.fixture
def gpu():
    """A device with 8 GiB, where a confined child can see it."""
    (REPOSITORY / "var").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=REPOSITORY / "var") as folder:
        yield StubGpu.make(Path(folder) / "gpu", slots=8)


@pytest.fixture
def engine(gpu, monkeypatch) -> dict[str, str]:
    """What a worker's environment says of vLLM; the web process sees the same."""
    behaviour = Behaviour(gpu=str(gpu.folder), delay=0.15)
    monkeypatch.setenv(COMMAND, command(behaviour))
    monkeypatch.delenv(PYTHON, raising=False)
    return {COMMAND: command(behaviour)}


@pytest.fixture
def weights(tmp_path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    config = {"architectures": ["StubForCausalLM"], "max_position_embeddings": 4096}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "x"}))
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    return folder


@pytest.fixture
def submit_vllm(submit, weights, engine):
    """Submit what `submit` submits, for a model of the vllm runtime."""

    def make(**args: object) -> Run:
        model = register_model(
            source="local",
            location=str(weights),
            runtime="vllm",
            model_class="vllm",
            args={"device": "cuda", "max_num_seqs": 32, **args},
        )
        with override_settings(REDRAFT_SLICE_SAMPLES=500):
            found = services.submit(
                user=User.objects.get(),
                model=model,
                suite=Suite.objects.get(),
                evaluators=[(EvaluatorVersion.objects.get().name, {"rounds": 1})],
                limit=SAMPLES,
                seed=0,
            )
        return found.runs[0]

    return make


def test_kills_change_nothing_and_free_the_gpu(processes, submit_vllm, engine, gpu):
    """R1 and G1's logic: workers die at any moment, and no engine holds memory after them."""
    moments = random.Random(7)  # noqa: S311 - seeded on purpose
    options = ("--no-celery", "--hardware=gpu,cpu", "--gpus=0")
    run = submit_vllm()
    for number in range(KILLS):
        worker = processes.worker(*options, **engine)
        if number % 2 == 0:
            time.sleep(moments.uniform(0.5, 4.0))
        else:
            goal = min(done(run) + moments.randint(1, 24), SAMPLES)
            wait_for(lambda goal=goal: done(run) >= goal, 60, "progress")
        kill(worker)
        wait_for(lambda: gpu.free() == 8, 10, "the memory's return")
        assert broken() == []
    processes.worker(*options, **engine)
    undisturbed = submit_vllm(max_model_len=2048)
    wait_for(lambda: ended(run, undisturbed), 120, "both runs have ended")
    assert (run.state, undisturbed.state) == (State.COMPLETED, State.COMPLETED)
    assert run.results.count() == SAMPLES
    assert export(run) == export(undisturbed)
    assert broken() == []
    processes.stop()
    wait_for(lambda: gpu.free() == 8, 10, "the memory's return")
    assert processes.alive() == []
