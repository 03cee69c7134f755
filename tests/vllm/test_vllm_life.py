"""Starts, refusals and deaths of a real vLLM server, and the command line on top of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from evaluators.errors import BadModel
from evaluators.registry import installed
from evaluators.runtimes import ModelSpec, open_runtime
from evaluators.runtimes.leftovers import kill_leftovers, started_by

NAME = "bundled/smollm2-135m-instruct"
SUPERVISOR = """
import asyncio, sys
from evaluators.runtimes import ModelSpec, open_runtime

async def main():
    args = {"pretrained": sys.argv[1], "max_model_len": 512, "max_num_seqs": 4}
    async with open_runtime(ModelSpec("vllm", "vllm", args)):
        await asyncio.sleep(600)

asyncio.run(main())
"""


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it is not so after all that time"
        time.sleep(0.05)


async def test_refuses_wrong_engine_arguments_in_vllms_own_words() -> None:
    args = {"pretrained": NAME, "quantization": "nonsense"}
    with pytest.raises(BadModel, match="vLLM: Unknown quantization method: nonsense"):
        async with open_runtime(ModelSpec("vllm", "vllm", args)):
            raise AssertionError("it must not start")


@pytest.mark.parametrize("confined", [True, False], ids=["in a namespace", "without bubblewrap"])
def test_nothing_outlives_a_supervisor_killed_with_sigkill(confined: bool, tmp_path: Path) -> None:
    if not confined:  # all programs but that one
        for program in Path("/usr/bin").iterdir():
            if program.name != "bwrap":
                (tmp_path / program.name).symlink_to(program)
    env = {**os.environ, **({} if confined else {"PATH": str(tmp_path)})}
    with subprocess.Popen([sys.executable, "-c", SUPERVISOR, NAME], env=env) as supervisor:
        # The agent, the server, its resource tracker, the engine core and the worker.
        wait_for(lambda: len(started_by(supervisor.pid)) >= 5, 120)
        supervisor.send_signal(signal.SIGKILL)
        supervisor.wait()
        wait_for(lambda: not started_by(supervisor.pid), 5)
    assert kill_leftovers() == 0


def test_the_command_line_evaluates_with_it() -> None:
    command = [
        sys.executable, "-m", "evaluators", "run", "reask", "--task", "rg_chain_sum_easy",
        "--model", "vllm", "--model-args",
        f"pretrained={NAME},max_model_len=1024,max_num_seqs=8,kv_cache_memory_bytes=400000000",
        "--limit", "8", "--json",
    ]  # fmt: skip
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env={**os.environ}
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    report = json.loads(ran.stdout)
    assert "reask" in json.dumps(report)


def test_every_method_runs_on_a_real_model(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "evaluators", "survey", "--out", str(tmp_path), "--json",
        "--model", "vllm", "--model-args",
        f"pretrained={NAME},max_model_len=4096,kv_cache_memory_bytes=1000000000",
        "--task", "rgmc_syllogism:generative", "--limit", "1", "--max-tokens", "16",
        "--free-text-tokens", "16", "--reply-tokens", "64",
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = json.loads(ran.stdout)
    assert {row["method"] for row in found["rows"]} == {entry.name for entry in installed()}
    assert [row for row in found["rows"] if row["n_total"] != 1] == []
    assert (tmp_path / "table.md").read_text().count("| `") == len(found["rows"])
