"""Answer, critique, revision against Inspect's `self_critique`: same server, same requests.

    python tests/benchmarks/self_critique.py [--runtime vllm] [--samples 64] [--max-tokens 24]

First both sides ask a server that writes down what it is asked, and the requests have to be the
same. Then they work in pairs on one of our runtimes: wall time and tokens computed, ours over
Inspect's, at most 1.00 with an empty store; wall time at most 0.70 when the first answers are
stored. Our first run is not counted: it fills the server's own prefix cache for both sides alike.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import harness
from harness import RIVALS, Goal, Run, run_side

TASK = "rg_chain_sum"
TOLERANCE = 0.1
TEMPLATES = """
import json
from inspect_ai.solver import _critique as c
print(json.dumps([c.DEFAULT_CRITIQUE_TEMPLATE, c.DEFAULT_CRITIQUE_COMPLETION_TEMPLATE]))
"""


def templates() -> dict[str, str]:
    """Return Inspect's own prompts, read from the installed package."""
    printed = subprocess.run(
        [RIVALS, "-c", TEMPLATES], capture_output=True, text=True, check=True
    ).stdout
    critique, completion = json.loads(printed.strip().rpartition("\n")[2])
    return {"critique": critique, "completion": completion}


def what_is_asked(side: str, asked: dict[str, Any]) -> list[str]:
    """Return the requests that a side makes, in an order of our own."""
    with harness.instant_server("--log") as url:
        run_side(side, asked | {"url": url, "name": "instant"})
        logged = harness.fetch(f"{url}/log")
    kept = [
        json.dumps([
            [(message["role"], harness.text_of(message)) for message in request["messages"]],
            request.get("max_tokens") or request.get("max_completion_tokens"),
            request.get("temperature"),
            request.get("stop"),
        ])
        for request in logged
    ]  # fmt: skip
    return sorted(request for request in kept if "Work out" in request)


def require_same_requests(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """End the benchmark unless both sides ask for exactly the same."""
    mine, other = what_is_asked("redraft", ours), what_is_asked("inspect", theirs)
    if mine != other or not mine:
        odd = sorted(set(mine) ^ set(other))
        sys.exit(f"the sides ask for different things, {len(odd)} requests:\n" + "\n".join(odd[:4]))
    print(f"both sides make the same {len(mine)} requests", flush=True)


def tokens(run: Run) -> float:
    """Return the tokens that the server was made to compute, by its own count."""
    return run.figures["prompt tokens"] + run.figures["completion tokens"]


def sides(given: argparse.Namespace, prompts: Path) -> tuple[dict[str, object], dict[str, object]]:
    """Return what both sides are asked."""
    limit = {"max_tokens": given.max_tokens}
    ours = {
        "task": TASK,
        "limit": given.samples,
        "in_flight": given.in_flight,
        "file": "critique_as_inspect",
        "methods": [("self_critique", templates() | limit)],
        "outcome": "texts",
    }
    harness.write_prompts(TASK, given.samples, prompts)
    theirs = {
        "prompts": str(prompts),
        "in_flight": given.in_flight,
        "solver": "self_critique",
        **limit,
    }
    return ours, theirs


def main() -> None:
    """Check the requests, then run the pairs, with an empty store and with first answers stored."""
    given = harness.options(
        __doc__,
        runtime="vllm",
        model_args=harness.SMOLLM2,
        samples=64,
        max_tokens=24,
        in_flight=64,
    )
    harness.require_rivals()
    if given.quick:
        given.samples, given.max_tokens = 8, 8
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = sides(given, Path(folder) / "prompts.jsonl")
        require_same_requests(ours, theirs)
        with harness.served_by(given) as server:
            place = {"url": server.url, "name": server.name}
            first = [("first_answer", {"max_tokens": given.max_tokens})]
            run_side("redraft", ours | place)
            pairs, later = (
                harness.alternate(
                    lambda asked=asked: run_side("redraft", asked | place),
                    lambda: run_side("inspect", theirs | place),
                    given.pairs,
                    tolerance=TOLERANCE,
                )
                for asked in (ours, ours | {"stored": first})
            )
    harness.report(
        f"answer, critique, revision: {TASK}, {given.samples} samples, {given.in_flight} in flight,"
        f" runtime {given.runtime} (started in {server.startup:.0f} s)",
        sides={
            "redraft": [run for run, _ in pairs],
            "redraft, first answers stored": [run for run, _ in later],
            "Inspect": [run for _, run in (*pairs, *later)],
        },
        goals=[
            Goal("wall time, ours over Inspect's", harness.ratios(pairs, harness.work), 1.0),
            Goal("tokens computed, ours over Inspect's", harness.ratios(pairs, tokens), 1.0),
            Goal("wall time, first answers stored", harness.ratios(later, harness.work), 0.7),
        ],
        given=given,
    )


if __name__ == "__main__":
    main()
