"""Review and improve, gated by gold: only wrong answers are reviewed, and right ones end it."""

from typing import Annotated

from annotated_types import Ge, Le

from evaluators.api import Context, Outcome, Sample, evaluator, metrics
from redraft_self_correction.review_improve import Review, improved


@evaluator(
    metrics=[*metrics.decomposition],
    information="oracle",
    roles=["critic"],
    source="2310.01798",
    controls=("greedy", "retry"),
)
async def review_improve_oracle(
    ctx: Context,
    sample: Sample,
    *,
    rounds: Annotated[int, Ge(1), Le(8)] = 2,
    review: Review = "presuming",
) -> Outcome:
    """Review and improve answers as long as gold says that they are wrong.

    The oracle variant of Huang et al. (arXiv 2310.01798): the turns are those of `review_improve`,
    but gold decides whether to go on, so that no right answer can be spoilt. The model is not told
    what gold says. Another model may play the critic. Calls: at most 1 + 2 * rounds.

    Args:
        rounds: Most reviews and improvements.
        review: Whether the review asks for problems as if there were some, or leaves it open
            whether the answer is right.
    """
    chat = [*sample.messages]
    answers = [await ctx.generate(chat)]
    for number in range(1, rounds + 1):
        if await ctx.oracle(answers[-1]):
            return Outcome(answers, stop_reason="the answer was right")
        chat, answer = await improved(ctx, chat, answers[-1], review=review, round=number)
        answers.append(answer)
    return Outcome(answers, stop_reason="no round was left")
