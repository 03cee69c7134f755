"""P(True): how likely the model finds its own answer to be correct."""

from typing import Annotated

from annotated_types import Ge, Le

from evaluators.api import (
    Context,
    Outcome,
    Prompt,
    Sample,
    critique,
    evaluator,
    metrics,
    strategies,
)
from redraft_sampling.labels import judged

JUDGE = Prompt.load("redraft_sampling", "p_true/judge")
JUDGE_AMONG = Prompt.load("redraft_sampling", "p_true/judge_among")


@evaluator(
    metrics=[*metrics.decomposition, *metrics.verification, *metrics.calibrated],
    requires=["chat", "label_likelihood"],
    roles=["critic"],
    source="2207.05221",
    controls=(),
)
async def p_true(
    ctx: Context, sample: Sample, *, ideas: Annotated[int, Ge(0), Le(32)] = 0
) -> Outcome:
    """Ask the model for the probability that its own answer, or a given one, is correct.

    After Kadavath et al. (arXiv 2207.05221): the question and the proposed answer are shown, and
    the score is P(A) / (P(A) + P(B)) of the labels for correct and wrong. The proposed answer
    is the one that every other method begins with, or the solution that a task of critique gives.
    There is no second answer: what counts are AUROC, Brier score and calibration of the score.
    Another model may play the critic. Calls: 2 + ideas, one fewer for a given solution.

    Args:
        ideas: How many other answers, sampled at temperature 1, the judgement sees first.
    """
    answer = await critique.subject(ctx, sample)
    others = await ctx.generate_many(sample.messages, ideas, temperature=1.0)
    shown = {
        "question": critique.quoted(strategies.question_text(sample), "question"),
        "answer": critique.quoted(answer.text, "proposed answer"),
    }
    listed = strategies.numbered([other.text for other in others], label="answer")
    request = JUDGE_AMONG.message(**shown, others=listed) if others else JUDGE.message(**shown)
    verdict = await judged(ctx, request, answer=0, parents=[answer.node, *others])
    return Outcome([answer], [verdict])
