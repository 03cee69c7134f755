"""The vllm runtime around a stand-in for its engine: refusals, silences, deaths, orphans."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evaluators.errors import (
    BadModel,
    CallRefused,
    ContextTooLong,
    OutOfResources,
    RuntimeUnavailable,
)
from evaluators.model import ChatRequest, LikelihoodRequest, Sampling, assistant, user
from evaluators.runtimes import ModelSpec, RunningModel, canary, open_runtime, preflight
from evaluators.runtimes.isolation import confine
from evaluators.runtimes.leftovers import kill_leftovers, started_by
from evaluators.runtimes.vllm_install import COMMAND, PYTHON
from evaluators.testing.stub_engine import Behaviour, command
from evaluators.testing.stub_gpu import SLOT, StubGpu

ROOT = Path(__file__).parents[3]
SUPERVISOR = """
import asyncio, sys
from evaluators.runtimes import ModelSpec, open_runtime

async def main():
    async with open_runtime(ModelSpec("vllm", "vllm", {"pretrained": sys.argv[1]})) as model:
        print("ready", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""
CONFINED = confine(["true"], network=False)[1] == "bwrap"
needs_bwrap = pytest.mark.skipif(not CONFINED, reason="bubblewrap is missing or blocked here")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder that looks like a model's from outside; the stand-in never opens it."""
    folder = tmp_path / "weights"
    folder.mkdir()
    config = {"architectures": ["StubForCausalLM"], "max_position_embeddings": 4096}
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "x"}))
    header = json.dumps({"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(24))
    return folder


@pytest.fixture
def outside() -> Iterator[Path]:
    """A folder that a confined child can see."""
    (ROOT / "var").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "var") as folder:
        yield Path(folder)


@pytest.fixture
def gpu(outside: Path) -> StubGpu:
    """A device with 8 GiB."""
    return StubGpu.make(outside / "gpu", slots=8)


@pytest.fixture(autouse=True)
def behave(monkeypatch: pytest.MonkeyPatch) -> Callable[[Behaviour], None]:
    """Say how the engine behaves that is started from now on."""

    def behave(behaviour: Behaviour) -> None:
        monkeypatch.setenv(COMMAND, command(behaviour))

    monkeypatch.delenv(PYTHON, raising=False)
    behave(Behaviour())
    return behave


def spec(weights: Path, **args: object) -> ModelSpec:
    return ModelSpec("vllm", "vllm", {"pretrained": str(weights), **args})  # type: ignore[dict-item]


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} is not so after {seconds:g} s"
        time.sleep(0.02)


async def calls_until_it_fails(model: RunningModel, *, seconds: float = 0.5) -> int:
    """Return how often the canary sang, which takes no longer than so many seconds."""
    for number in range(50):
        try:
            await canary(model, seconds=seconds)
        except RuntimeUnavailable:
            return number
    raise AssertionError("it never fails")


class TestServes:
    async def test_facts_come_from_what_the_server_shows(self, weights: Path) -> None:
        async with open_runtime(spec(weights, max_model_len=2048, max_num_seqs=16)) as model:
            info = model.info
            assert info.capabilities == {
                "chat", "prefix", "token_logprobs", "top_logprobs", "label_likelihood", "echo", "n",
            }  # fmt: skip
            assert (info.context_window, info.batch_size, info.dtype) == (2048, 16, "bfloat16")
            assert (info.parameters, info.has_chat_template) == (6, True)
            first = model.fingerprint
        async with open_runtime(spec(weights, max_model_len=2048)) as model:
            assert model.fingerprint == first  # how many rows fit changes no text
        async with open_runtime(spec(weights, max_model_len=2048, dtype="float16")) as model:
            assert model.fingerprint != first

    async def test_answers_chats_and_counts_what_was_counted(self, weights: Path) -> None:
        async with open_runtime(spec(weights)) as model:
            found = await model.complete(ChatRequest((user("<<yes|no>>"),), Sampling()))
            assert (found.text, found.finish_reason) == ("yes", "stop")
            assert found.usage.prompt_tokens == len("user: <<yes|no>>\nassistant: ")

    async def test_weighs_choices_by_the_tokens_that_they_add(self, weights: Path) -> None:
        async with open_runtime(spec(weights)) as model:
            chat = (user("q"), assistant("a:"))
            found = await model.likelihood(LikelihoodRequest(chat, ("bd", "c")))
            bd, c = found.choices
            assert (bd.logprob, bd.tokens, bd.greedy) == (-(3 / 8 + 5 / 8), 2, True)
            assert (c.logprob, c.tokens, c.greedy) == (-4 / 8, 1, False)
            label = await model.likelihood(LikelihoodRequest(chat, ("c",), labels=True))
            assert label.choices == (c,)
            with pytest.raises(CallRefused, match="'bd' is not one token here, but 2"):
                await model.likelihood(LikelihoodRequest(chat, ("bd",), labels=True))

    async def test_a_model_without_a_template_goes_on_with_plain_text(
        self, weights: Path, behave: Callable[[Behaviour], None]
    ) -> None:
        behave(Behaviour(template=False))
        async with open_runtime(spec(weights)) as model:
            assert model.capabilities == {
                "prefix", "token_logprobs", "top_logprobs", "label_likelihood", "echo", "n",
            }  # fmt: skip
            assert (model.info.has_chat_template, model.info.chat_template_sha256) == (False, None)
            found = await model.complete(
                ChatRequest((user("once"), assistant(" upon")), Sampling())
            )
            assert found.usage.prompt_tokens == len("once upon")
            weighed = await model.likelihood(LikelihoodRequest((user("once"),), ("b",)))
            assert weighed.choices[0].logprob == -3 / 8
            with pytest.raises(CallRefused, match="cannot converse"):
                await model.complete(ChatRequest((user("a"), user("b")), Sampling()))

    @pytest.mark.parametrize("asked", [Sampling(max_tokens=8), Sampling(max_tokens=4090)])
    async def test_refuses_what_does_not_fit(self, weights: Path, asked: Sampling) -> None:
        text = "x" * (5000 if asked.max_tokens == 8 else 10)
        async with open_runtime(spec(weights)) as model:
            with pytest.raises(ContextTooLong, match="4096"):
                await model.complete(ChatRequest((user(text),), asked))


class TestRefuses:
    def test_refuses_without_any_vllm(
        self, weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv(COMMAND, "/nowhere/vllm")
        monkeypatch.setenv(PYTHON, "/nowhere/python")
        with pytest.raises(BadModel, match="vLLM's Python cannot be asked"):
            preflight(spec(weights))

    def test_refuses_another_kind_of_model(self, weights: Path) -> None:
        with pytest.raises(BadModel, match="runs one kind of model, vllm, not 'hf'"):
            preflight(ModelSpec("vllm", "hf", {"pretrained": str(weights)}))

    def test_refuses_pickled_weights_before_anything_starts(self, weights: Path) -> None:
        (weights / "model.safetensors").rename(weights / "pytorch_model.bin")
        with pytest.raises(BadModel, match="pickled"):
            preflight(spec(weights))

    async def test_a_command_that_is_not_there_says_so(
        self, weights: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(COMMAND, "/nowhere/vllm serve")
        with pytest.raises(BadModel, match="cannot start /nowhere/vllm: No such file"):
            async with open_runtime(spec(weights)):
                pass

    async def test_the_engines_own_words_are_the_reason(
        self, weights: Path, behave: Callable[[Behaviour], None]
    ) -> None:
        behave(Behaviour(last_words="ValueError: this card cannot do bfloat16"))
        with pytest.raises(BadModel, match="vLLM: this card cannot do bfloat16"):
            async with open_runtime(spec(weights)):
                pass


class TestSilence:
    """R14: a port that answers is no model that answers."""

    async def test_a_server_without_tokens_is_never_ready(
        self, weights: Path, behave: Callable[[Behaviour], None]
    ) -> None:
        behave(Behaviour(silent=True))
        with pytest.raises(RuntimeUnavailable, match="not ready after 3 s"):
            async with open_runtime(spec(weights), start_timeout=3.0):
                pass

    async def test_the_canary_finds_a_server_that_fell_silent(
        self, weights: Path, behave: Callable[[Behaviour], None], outside: Path
    ) -> None:
        flag = outside / "silent"
        behave(Behaviour(silent_flag=str(flag)))
        async with open_runtime(spec(weights)) as model:
            assert await canary(model, seconds=5.0) < 5.0
            flag.touch()
            with pytest.raises(RuntimeUnavailable, match=r"no token came out of it within 0\.5 s"):
                await canary(model, seconds=0.5)
            assert model.alive()  # that is why nothing else would have found it

    async def test_a_restart_helps(
        self, weights: Path, behave: Callable[[Behaviour], None], gpu: StubGpu
    ) -> None:
        behave(Behaviour(silent_after=12, gpu=str(gpu.folder)))
        for _ in range(2):
            async with open_runtime(spec(weights), gpus=gpu.devices) as model:
                assert await calls_until_it_fails(model) > 0
            assert (gpu.free(), model.dirty) == (8, ())


class TestMemory:
    async def test_fewer_rows_are_tried_first_and_that_is_recorded(
        self, weights: Path, behave: Callable[[Behaviour], None], gpu: StubGpu
    ) -> None:
        behave(Behaviour(gpu=str(gpu.folder), weights=2, sequences_per_gib=16))
        async with open_runtime(spec(weights, max_num_seqs=128), gpus=gpu.devices) as model:
            assert model.info.batch_size == 64
            [rung] = model.info.ladder
            assert (rung["argument"], rung["before"], rung["after"]) == ("max_num_seqs", 128, 64)
            assert "CUDA out of memory" in str(rung["reason"])
            assert gpu.free() == 2

    async def test_then_the_context_that_the_tasks_need(
        self, weights: Path, behave: Callable[[Behaviour], None]
    ) -> None:
        behave(Behaviour(cache_tokens=1500))
        async with open_runtime(spec(weights), needed_tokens=1024) as model:
            assert model.context_window == 1024
            [rung] = model.info.ladder
            assert (rung["argument"], rung["before"], rung["after"]) == (
                "max_model_len", 4096, 1024,
            )  # fmt: skip

    async def test_refuses_with_the_numbers_when_nothing_helps(
        self, weights: Path, behave: Callable[[Behaviour], None], gpu: StubGpu
    ) -> None:
        behave(Behaviour(gpu=str(gpu.folder), weights=9))
        with pytest.raises(OutOfResources, match=r"total capacity of 8.00 GiB") as caught:
            async with open_runtime(
                spec(weights, max_num_seqs=32), needed_tokens=512, gpus=gpu.devices
            ):
                pass
        assert caught.value.data["available"] == 8 * SLOT
        assert [rung["argument"] for rung in caught.value.data["ladder"]] == [
            "max_num_seqs", "max_model_len",
        ]  # fmt: skip
        assert gpu.free() == 8

    async def test_memory_that_somebody_else_holds_is_no_fault_of_the_model(
        self, weights: Path, behave: Callable[[Behaviour], None]
    ) -> None:
        words = (
            "ValueError: Free memory on device cuda:0 (1.0/8.0 GiB) on startup is less than desired"
            " GPU memory utilization (0.9, 7.2 GiB)."
        )
        behave(Behaviour(last_words=words))
        with pytest.raises(RuntimeUnavailable, match="Free memory on device"):
            async with open_runtime(spec(weights)):
                pass


class TestDeaths:
    async def test_calls_in_flight_fail_when_the_engine_dies(
        self, weights: Path, behave: Callable[[Behaviour], None]
    ) -> None:
        behave(Behaviour(die_after=12))
        async with open_runtime(spec(weights)) as model:
            assert await calls_until_it_fails(model) > 0
            async with asyncio.timeout(5):
                assert await model.wait_dead() == 5

    async def test_a_dying_engine_says_what_it_dies_of(
        self, weights: Path, behave: Callable[[Behaviour], None]
    ) -> None:
        behave(Behaviour(die_after=12, dying_words="the cache is broken"))
        async with open_runtime(spec(weights)) as model:
            assert await calls_until_it_fails(model, seconds=30) > 0
            with pytest.raises(RuntimeUnavailable, match="the cache is broken"):
                await canary(model)

    @needs_bwrap
    async def test_a_detached_engine_ends_with_its_namespace(
        self, weights: Path, behave: Callable[[Behaviour], None], gpu: StubGpu
    ) -> None:
        behave(Behaviour(gpu=str(gpu.folder)))
        async with open_runtime(spec(weights, max_num_seqs=32), gpus=gpu.devices) as model:
            assert (gpu.free(), model.info.isolation) == (5, "bwrap")
        assert (gpu.free(), model.dirty) == (8, ())

    @needs_bwrap
    def test_nothing_outlives_a_supervisor_killed_with_sigkill(
        self, weights: Path, behave: Callable[[Behaviour], None], gpu: StubGpu
    ) -> None:
        behave(Behaviour(gpu=str(gpu.folder)))
        with supervisor(weights) as process:
            process.kill()
            process.wait()
            wait_for(lambda: gpu.free() == 8, 5, "the memory's return")
            wait_for(lambda: not started_by(process.pid), 5, "the end of all")


class TestWithoutBubblewrap:
    """R19: less isolation, no orphans all the same."""

    @pytest.fixture(autouse=True)
    def no_bwrap(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))

    async def test_a_detached_engine_is_found_by_its_mark(
        self, weights: Path, behave: Callable[[Behaviour], None], gpu: StubGpu
    ) -> None:
        behave(Behaviour(gpu=str(gpu.folder)))
        async with open_runtime(spec(weights), gpus=gpu.devices) as model:
            assert (gpu.free() < 8, model.info.isolation) == (True, "process_group")
        assert (gpu.free(), model.dirty) == (8, ())

    def test_the_agent_kills_what_is_left_when_its_supervisor_is_killed(
        self, weights: Path, behave: Callable[[Behaviour], None], gpu: StubGpu
    ) -> None:
        behave(Behaviour(gpu=str(gpu.folder)))
        with supervisor(weights) as process:
            process.kill()
            process.wait()
            wait_for(lambda: gpu.free() == 8, 5, "the memory's return")
            wait_for(lambda: not started_by(process.pid), 5, "the end of all")

    async def test_the_next_start_kills_what_a_killed_agent_left(
        self, weights: Path, behave: Callable[[Behaviour], None], gpu: StubGpu
    ) -> None:
        behave(Behaviour(gpu=str(gpu.folder)))
        with supervisor(weights) as process:
            # All but the detached engine, and at once, so that none can clean up.
            left = started_by(process.pid)
            engine = max(left)
            process.send_signal(signal.SIGSTOP)
            for pid in left:
                if pid != engine:
                    os.kill(pid, signal.SIGKILL)
            process.kill()
            process.wait()
            assert gpu.free() < 8
            async with open_runtime(ModelSpec("echo", "echo")):
                wait_for(lambda: gpu.free() == 8, 5, "the memory's return")
            wait_for(lambda: not started_by(process.pid), 5, "the end of all")

    async def test_refuses_when_a_sandbox_is_required(
        self, weights: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REDRAFT_REQUIRE_SANDBOX", "1")
        with pytest.raises(RuntimeUnavailable, match="bubblewrap"):
            async with open_runtime(spec(weights)):
                pass


def test_marks_of_living_owners_are_left_alone() -> None:
    assert kill_leftovers() == 0


class supervisor:  # noqa: N801 - reads as what it is: a context
    """A process that holds a runtime open, once it is ready."""

    def __init__(self, weights: Path) -> None:
        self._command = [sys.executable, "-c", SUPERVISOR, str(weights)]

    def __enter__(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, text=True, env=os.environ.copy(), cwd=ROOT
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
