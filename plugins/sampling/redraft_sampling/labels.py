"""Judgement by label: the probability with which a model says A, for correct, instead of B."""

from collections.abc import Sequence

from evaluators.api import Context, Message, Reply, Verdict

LABELS = ("A", "B")
"""Correct and wrong, as the prompts name them."""


async def judged(
    ctx: Context, request: Message, *, answer: int, parents: Sequence[Reply | int] = ()
) -> Verdict:
    """Ask for a judgement and return it with P(A) / (P(A) + P(B)) as its score; one call.

    Args:
        request: Asks for A, correct, or B, wrong.
        answer: Index of the judged answer among those that the method will return.
        parents: What the request shows.
    """
    scores = await ctx.likelihood(
        [request], LABELS, labels=True, kind="verify", role="critic", round=1, parents=parents
    )
    chance, against = scores.probabilities
    if chance == against:
        return Verdict(answer, "unsure", scores.node, score=chance)
    return Verdict(answer, "correct" if chance > against else "wrong", scores.node, score=chance)
