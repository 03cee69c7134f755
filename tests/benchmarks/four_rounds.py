"""Four rounds of answers whose lengths have a heavy tail, each sample on its own or all in step."""

import asyncio
import random
from functools import cache

from evaluators.api import Context, Outcome, Sample, evaluator, metrics, user

ROUNDS = 4
SHORTEST, LONGEST, TAIL = 2, 160, 0.5


def length_of(sample: str, number: int) -> int:
    """Return how many tokens an answer has: a Pareto tail of 0.5, cut off at 2 and at 160."""
    draw = random.Random(f"{sample}/{number}").paretovariate(TAIL)
    return max(SHORTEST, min(LONGEST, int(draw)))


@cache
def gate(parties: int) -> asyncio.Barrier:
    """Return the barrier at which all samples wait for the slowest."""
    return asyncio.Barrier(parties)


@evaluator(metrics=[*metrics.decomposition])
async def four_rounds(ctx: Context, sample: Sample, *, in_step_with: int = 0) -> Outcome:
    """Go on with a story four times.

    Args:
        in_step_with: How many samples begin each round together; 0 lets every sample flow.
    """
    chat = [user(f"Write a very long story about the number {1000 + int(sample.id)}.")]
    answers = []
    for number in range(ROUNDS):
        if in_step_with:
            await gate(in_step_with).wait()
        limit = length_of(sample.id, number)
        answers.append(await ctx.generate(chat, max_tokens=limit, stop=(), temperature=0.0))
        chat += [answers[-1].message, user("Go on with the story, and do not end it.")]
    return Outcome(answers)
