"""Single pass on the vLLM runtime against lm-eval's `local-chat-completions` on the same server.

    python tests/benchmarks/single_pass_served.py [--runtime vllm] [--samples 64]

The runtime is started once; both sides ask it through the same port, with the same number of
requests in flight. Work is what lies between the first prompt and the last grade; scores are
compared sample by sample. One run of ours comes first and is not counted: it fills the server's own
prefix cache for both sides alike.
"""

from __future__ import annotations

import harness
from harness import Goal, run_side

TOLERANCE = 0.05


def main() -> None:
    """Run the pairs."""
    given = harness.options(
        __doc__,
        runtime="vllm",
        model_args=harness.SMOLLM2,
        task="rg_chain_sum_easy",
        samples=64,
        in_flight=64,
    )
    harness.require_rivals()
    if given.quick:
        given.samples = 8
    asked = {"task": given.task, "limit": given.samples, "in_flight": given.in_flight}
    with harness.served_by(given) as server:
        asked |= {"url": server.url, "name": server.name}
        ours = asked | {"methods": [("single_pass", {})]}
        run_side("redraft", ours)
        pairs = harness.alternate(
            lambda: run_side("redraft", ours),
            lambda: run_side("lm_eval", asked),
            given.pairs,
            tolerance=TOLERANCE,
        )
    harness.report(
        f"{given.task}, {given.samples} samples, {given.in_flight} in flight, "
        f"runtime {given.runtime} (started in {server.startup:.0f} s)",
        sides={"redraft": [run for run, _ in pairs], "lm-eval": [run for _, run in pairs]},
        goals=[Goal("work, ours over lm-eval's", harness.ratios(pairs, harness.work), 1.0)],
        given=given,
    )


if __name__ == "__main__":
    main()
