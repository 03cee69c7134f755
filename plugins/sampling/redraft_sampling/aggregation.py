"""Candidates put before a model, and the one answer that it makes of them."""

from collections.abc import Sequence

from evaluators.api import Context, Prompt, Reply, Sample, critique, strategies


def candidates(sample: Sample, replies: Sequence[Reply]) -> dict[str, str]:
    """Return what a prompt needs that shows a question and responses to it, in that order."""
    return {
        "question": critique.quoted(strategies.question_text(sample), "question"),
        "responses": strategies.numbered([reply.text for reply in replies]),
    }


async def merged(
    ctx: Context, sample: Sample, replies: Sequence[Reply], *, prompt: Prompt, dropped: int = 0
) -> Reply:
    """Show replies in a drawn order and have the model write one answer from them.

    The answer follows the task's own decoding, limits and stop strings, as every answer does.

    Args:
        prompt: With the placeholders `question` and `responses`.
        dropped: How many replies were left out before.
    """
    order = strategies.ranking.shuffled(ctx, len(replies))
    # The move costs nothing and holds the order; the call that follows is the answer.
    move = ctx.record("merge", parents=replies, round=1, permutation=order, dropped=dropped)
    request = prompt.message(**candidates(sample, [replies[index] for index in order]))
    return await ctx.generate([request], round=1, parents=[move.idx])
