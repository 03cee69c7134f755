"""What a critic is to judge: a solution that the task gives, or the model's own answer."""

from __future__ import annotations

from evaluators.context import Context
from evaluators.model import Answer, Reply, Sample


async def subject(ctx: Context, sample: Sample, *, own: bool = False) -> Reply | Answer:
    """Return the given solution, or, in a task that gives none, the model's own answer.

    It is the first answer state of the method: graded, the given solution gets its stored label.
    Calls: 0 for a given solution, else 1.

    Args:
        own: Have the model answer even where a solution is given.
    """
    if own or sample.given is None:
        return await ctx.generate(sample.messages)
    node = ctx.record("given", sample.given.text, agent=sample.given.author)
    return Answer(sample.given.text, node.idx)
