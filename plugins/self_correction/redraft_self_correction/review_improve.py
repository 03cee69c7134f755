"""Review and improve: answer, criticise the answer, answer again."""

from typing import Annotated, Literal

from annotated_types import Ge, Le

from evaluators.api import Context, Outcome, Prompt, Sample, evaluator, metrics

REVIEW = {
    "presuming": Prompt.load("redraft_self_correction", "review_improve/review_presuming"),
    "neutral": Prompt.load("redraft_self_correction", "review_improve/review_neutral"),
}
IMPROVE = Prompt.load("redraft_self_correction", "review_improve/improve")


@evaluator(metrics=[*metrics.decomposition], roles=["critic"])
async def review_improve(
    ctx: Context,
    sample: Sample,
    *,
    rounds: Annotated[int, Ge(1), Le(8)] = 1,
    review: Literal["presuming", "neutral"] = "presuming",
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
        chat += [answers[-1].message, REVIEW[review].message()]
        critique = await ctx.generate(chat, kind="critique", role="critic", round=number)
        chat += [critique.message, IMPROVE.message()]
        answers.append(await ctx.generate(chat, round=number))
    return Outcome(answers)
