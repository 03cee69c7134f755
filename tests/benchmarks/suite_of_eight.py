"""Tokens that a suite of eight methods computes, against eight runs of their own.

    python tests/benchmarks/suite_of_eight.py [--runtime vllm] [--samples 3]

Together the methods share one store, so that equal calls are made once; apart each begins with an
empty one. Prompt plus completion tokens of calls that were really made, by the server's own count:
at most 0.65. Every pair works on other samples of the task; the answers are compared.
"""

from __future__ import annotations

import argparse

import harness
from harness import Goal, Run, run_side

EIGHT = (
    ("single_pass", {}),
    ("null_turn", {}),
    ("reask", {}),
    ("if_or_else", {}),
    ("review_improve", {}),
    ("self_consistency", {}),
    ("universal_sc", {"samples": 5}),
    ("adaptive_consistency", {"max_samples": 5}),
)
"""What one submits to learn whether looking again is worth its calls: methods of correction, a turn
that says nothing, and what the same calls give when they are spent on samples."""

TOLERANCE = 0.1


def tokens(run: Run) -> float:
    """Return the tokens that the server was made to compute."""
    return run.figures["prompt tokens"] + run.figures["completion tokens"]


def sides(given: argparse.Namespace, number: int) -> dict[str, object]:
    """Return what both sides of a pair are asked: each pair takes the next samples."""
    return {
        "task": given.task,
        "first": number * given.samples,
        "limit": (number + 1) * given.samples,
        "in_flight": given.in_flight,
        "methods": EIGHT,
        "outcome": "texts",
    }


def main() -> None:
    """Run the pairs."""
    given = harness.options(
        __doc__,
        runtime="vllm",
        model_args=harness.SMOLLM2,
        task="rg_chain_sum_easy",
        samples=3,
        in_flight=64,
    )
    if given.quick:
        given.samples = 1
    pairs: list[tuple[Run, Run]] = []
    with harness.served_by(given) as server:
        for number in range(given.pairs):
            asked = sides(given, number) | {"url": server.url, "name": server.name}
            pairs += harness.alternate(
                lambda asked=asked: run_side("redraft", asked),
                lambda asked=asked: run_side("redraft", asked | {"apart": True}),
                1,
                tolerance=TOLERANCE,
            )
    shares = harness.ratios(pairs, tokens)
    harness.report(
        f"eight methods on {given.task}, {given.samples} samples a pair, runtime {given.runtime}",
        sides={"together": [run for run, _ in pairs], "apart": [run for _, run in pairs]},
        goals=[Goal("tokens computed, together over apart", shares, 0.65)],
        given=given,
        notes=[f"  {name} {params}" for name, params in EIGHT],
    )


if __name__ == "__main__":
    main()
