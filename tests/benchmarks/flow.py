"""The same four rounds with and without a barrier between them: what flowing is worth.

    python tests/benchmarks/flow.py [--runtime vllm] [--samples 16]

All samples are in flight from the start. Lengths of answers have a heavy tail that is fixed in
`four_rounds.py`. With a barrier nobody begins a round before the slowest sample has ended the one
before; without, every sample goes on at once. The texts are compared. Without a barrier it has to
be at least 1.25 times faster.
"""

from __future__ import annotations

import harness
from four_rounds import ROUNDS, length_of
from harness import Goal, run_side

TOLERANCE = 0.1


def main() -> None:
    """Run the pairs."""
    given = harness.options(
        __doc__, runtime="vllm", model_args=harness.SMOLLM2, samples=16, task="rg_chain_sum"
    )
    if given.quick:
        given.samples = 6
    given.in_flight = given.samples
    asked = {"task": given.task, "limit": given.samples, "in_flight": given.samples}
    asked |= {"file": "four_rounds", "outcome": "texts"}
    march = asked | {"methods": [("four_rounds", {"in_step_with": given.samples})]}
    flow = asked | {"methods": [("four_rounds", {})]}
    lengths = sorted(
        length_of(str(sample), number)
        for sample in range(given.samples)
        for number in range(ROUNDS)
    )
    with harness.served_by(given) as server:
        place = {"url": server.url, "name": server.name}
        run_side("redraft", flow | place | {"limit": 2})
        pairs = harness.alternate(
            lambda: run_side("redraft", flow | place),
            lambda: run_side("redraft", march | place),
            given.pairs,
            tolerance=TOLERANCE,
        )
    slower = [1 / ratio for ratio in harness.ratios(pairs, harness.work)]
    harness.report(
        f"{given.samples} samples, {ROUNDS} rounds, runtime {given.runtime} "
        f"(started in {server.startup:.0f} s)",
        sides={"flow": [run for run, _ in pairs], "march": [run for _, run in pairs]},
        goals=[Goal("march over flow, wall time", slower, 1.25, "at least")],
        given=given,
        notes=[
            f"  most tokens of an answer: {lengths[0]} to {lengths[-1]}, "
            f"median {lengths[len(lengths) // 2]}, {sum(lengths)} in all"
        ],
    )


if __name__ == "__main__":
    main()
