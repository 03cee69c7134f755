"""What the engine costs where the model costs nothing, beside lm-eval and Inspect.

    python tests/benchmarks/engine_speed.py [--samples 4000] [--inspect-samples 500]

Evaluations with one call each per second of work, from the first prompt to the last grade, 64 in
flight, against a server that answers at once: at least 2.5 times those of lm-eval's
`local-chat-completions` and 20 times Inspect's. Scores are compared with lm-eval's sample by
sample, texts with Inspect's. Then the share of a sample's time that is not spent waiting for the
model, 64 in flight against a server that takes its time: at most 3 %.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import harness
from harness import Goal, Run, run_side
from instant_server import seconds_for

TASK = "bench_sums"


def redraft(url: str, samples: int, **asked: object) -> Run:
    """Evaluate with our engine: shared model, transcript, grading in the task process."""
    job = {"url": url, "name": "instant", "task": TASK, "limit": samples}
    return run_side("redraft", job | {"methods": [("single_pass", {})]} | asked)


def lm_eval(url: str, samples: int, in_flight: int) -> Run:
    """Evaluate with lm-eval."""
    job = {"url": url, "name": "instant", "task": TASK, "limit": samples, "in_flight": in_flight}
    return run_side("lm_eval", job)


def inspect(url: str, prompts: Path, in_flight: int) -> Run:
    """Evaluate with Inspect."""
    job = {"url": url, "name": "instant", "prompts": str(prompts), "in_flight": in_flight}
    job |= {"solver": "generate", "max_tokens": 64}
    return run_side("inspect", job)


def per_second(run: Run, samples: int) -> Run:
    """Add the rate to a side's figures."""
    return replace(run, figures={"evaluations per second": samples / run.work})


def rates(pairs: list[tuple[Run, Run]]) -> list[float]:
    """Return how many times as many evaluations per second we make."""
    name = "evaluations per second"
    return [ours.figures[name] / theirs.figures[name] for ours, theirs in pairs]


def outside(given: argparse.Namespace, folder: Path) -> list[float]:
    """Return, per run, the share of a sample's time that is not spent waiting for the model."""
    prompts, samples = folder / "paced.jsonl", 10 * given.in_flight
    harness.write_prompts(TASK, samples, prompts)
    contents = [json.loads(line)["content"] for line in prompts.read_text().splitlines()]
    waited = sum(seconds_for(content, given.seconds) for content in contents)
    shares = []
    with harness.instant_server("--seconds", str(given.seconds)) as url:
        for _ in range(given.pairs):
            run = redraft(url, samples, in_flight=given.in_flight)
            shares.append(1 - waited / run.figures["lane seconds"])
    return shares


def main() -> None:
    """Run both comparisons and the share."""
    given = harness.options(__doc__, samples=4000, inspect_samples=500, in_flight=64, seconds=0.5)
    harness.require_rivals()
    if given.quick:
        given.samples, given.inspect_samples, given.seconds = 400, 100, 0.2
    n, few, lanes = given.samples, given.inspect_samples, given.in_flight
    with harness.instant_server() as url, tempfile.TemporaryDirectory() as folder:
        prompts = Path(folder) / "prompts.jsonl"
        harness.write_prompts(TASK, few, prompts)

        def ours(**asked: object) -> Run:
            return per_second(redraft(url, n, in_flight=lanes, **asked), n)

        print("against lm-eval")
        harnessed = harness.alternate(
            ours, lambda: per_second(lm_eval(url, n, lanes), n), given.pairs
        )
        print("against Inspect")
        inspected = harness.alternate(
            partial(ours, outcome="texts", compare=few),
            lambda: per_second(inspect(url, prompts, lanes), few),
            given.pairs,
        )
        shares = outside(given, Path(folder))
    harness.report(
        f"{TASK}, {n} samples ({few} for Inspect), {lanes} in flight, one call each",
        sides={
            "redraft": [ours for ours, _ in harnessed],
            "lm-eval": [theirs for _, theirs in harnessed],
            "Inspect": [theirs for _, theirs in inspected],
        },
        goals=[
            Goal("evaluations per second, times lm-eval's", rates(harnessed), 2.5, "at least"),
            Goal("evaluations per second, times Inspect's", rates(inspected), 20, "at least"),
            Goal("share of time outside the model", shares, 0.03),
        ],
        given=given,
    )


if __name__ == "__main__":
    main()
