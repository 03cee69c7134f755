"""Tokens per second of our engine on the vLLM runtime against vLLM alone; needs a GPU.

    python tests/benchmarks/gpu_throughput.py [--samples 6000] [--model-args pretrained=…]

Both sides have the same engine arguments, prompts, limits and stop strings. Ours counts from the
first prompt rendered to the last answer graded, vLLM's `LLM.chat` from the first prompt to the last
text. At least 0.95 of its tokens per second. `--anywhere` runs it on a processor, to see it work.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import harness
from harness import Goal, Run, run_side

from evaluators.runtimes import ModelSpec, parse_model_args
from evaluators.runtimes.gpu import read_devices
from evaluators.runtimes.vllm import make_plan
from evaluators.runtimes.vllm_install import find_installation

TASK = "bench_sums"
TOLERANCE = 0.1
STOP = ("\nQuestion:",)
MAX_TOKENS = 64
"""Both as the task says."""


def rate(run: Run) -> float:
    """Return generated tokens per second of work."""
    return run.figures["completion tokens"] / run.work


def raw(given: argparse.Namespace, prompts: Path) -> Run:
    """Run vLLM alone, in its own environment, on the files and arguments that ours has."""
    spec = ModelSpec("vllm", "vllm", parse_model_args(given.model_args), batch_size=given.in_flight)
    plan = make_plan(spec, Path("/nowhere"))
    folder = plan.command[plan.command.index("--model") + 1]
    engine = {"dtype": plan.dtype, "max_num_seqs": plan.batch_size, "seed": 0}
    engine |= {"enable_prefix_caching": True}
    if plan.device == "cpu":
        engine |= {"enforce_eager": True, "kv_cache_memory_bytes": 2**30}
    asked = {"model": folder, "engine": engine, "prompts": str(prompts)}
    asked |= {"max_tokens": MAX_TOKENS, "stop": STOP}
    python = find_installation().python or sys.executable
    return run_side("raw_vllm", asked, python=python, environment=plan.environment)


def main() -> None:
    """Run the pairs where there is a GPU."""
    given = harness.options(
        __doc__,
        model_args="pretrained=bundled/smollm2-135m-instruct",
        samples=6000,
        in_flight=256,
        anywhere=0,
    )
    if not read_devices() and not given.anywhere:
        print("no GPU here: tokens per second against the raw engine are not measured")
        return
    if given.quick:
        given.samples = 32
    ours = {
        "runtime": "vllm",
        "model": "vllm",
        "args": parse_model_args(given.model_args),
        "batch_size": given.in_flight,
        "task": TASK,
        "limit": given.samples,
        "in_flight": given.in_flight,
        "methods": [("single_pass", {})],
        "outcome": "texts",
    }
    run_side("redraft", ours | {"limit": 1})  # unpacks and compiles what is kept between starts
    with tempfile.TemporaryDirectory() as folder:
        prompts = Path(folder) / "prompts.jsonl"
        harness.write_prompts(TASK, given.samples, prompts)
        pairs = harness.alternate(
            lambda: run_side("redraft", ours),
            lambda: raw(given, prompts),
            given.pairs,
            tolerance=TOLERANCE,
        )
    devices = ", ".join(device.name for device in read_devices()) or "processor"
    harness.report(
        f"{TASK}, {given.samples} samples, {given.in_flight} in flight, {devices}",
        sides={"redraft": [run for run, _ in pairs], "vLLM alone": [run for _, run in pairs]},
        goals=[
            Goal(
                "tokens per second, ours over vLLM's", harness.ratios(pairs, rate), 0.95, "at least"
            )
        ],
        given=given,
        notes=[json.dumps({"tokens per second": [round(rate(ours)) for ours, _ in pairs]})],
    )


if __name__ == "__main__":
    main()
