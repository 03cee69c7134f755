"""Review and improve: answer, criticise the answer, answer again."""

from collections.abc import Sequence
from typing import Annotated, Literal

from annotated_types import Ge, Le

from evaluators.api import Context, Message, Outcome, Prompt, Reply, Sample, evaluator, metrics

Review = Literal["presuming", "neutral"]

REVIEW: dict[Review, Prompt] = {
    "presuming": Prompt.load("redraft_self_correction", "review_improve/review_presuming"),
    "neutral": Prompt.load("redraft_self_correction", "review_improve/review_neutral"),
}
IMPROVE = Prompt.load("redraft_self_correction", "review_improve/improve")


@evaluator(metrics=[*metrics.decomposition], roles=["critic"], source="2310.01798")
async def review_improve(
    ctx: Context,
    sample: Sample,
    *,
    rounds: Annotated[int, Ge(1), Le(8)] = 1,
    review: Review = "presuming",
) -> Outcome:
    """Let the model criticise its answer and improve on it, any number of rounds.

    Intrinsic self-correction after Huang et al. (arXiv 2310.01798): the whole conversation stays
    in view, no gold, no stop. Another model may play the critic. Calls: 1 + 2 * rounds.

    Args:
        rounds: How often to review and improve.
        review: Whether the review asks for problems as if there were some, or leaves it open
            whether the answer is right.
    """
    chat = [*sample.messages]
    answers = [await ctx.generate(chat)]
    for number in range(1, rounds + 1):
        chat, answer = await improved(ctx, chat, answers[-1], review=review, round=number)
        answers.append(answer)
    return Outcome(answers)


async def improved(
    ctx: Context,
    chat: Sequence[Message],
    answer: Reply,
    *,
    review: Review,
    round: int,  # noqa: A002 - the field's own term
) -> tuple[list[Message], Reply]:
    """Review an answer and improve on it; return the chat so far and the new answer to it."""
    asked = [*chat, answer.message, REVIEW[review].message()]
    critique = await ctx.generate(asked, kind="critique", role="critic", round=round)
    asked += [critique.message, IMPROVE.message()]
    return asked, await ctx.generate(asked, round=round)
