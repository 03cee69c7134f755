"""Critique, then correct, where gold says which solutions need it."""

from evaluators.api import Context, Outcome, Sample, critique, evaluator, metrics
from redraft_critique.critique_then_correct import correct
from redraft_critique.judging import Wording


@evaluator(
    metrics=[*metrics.decomposition, *metrics.judging],
    information="oracle",
    roles=["critic"],
    source="2402.14809",
    controls=("greedy", "retry"),
)
async def critique_then_correct_oracle(
    ctx: Context, sample: Sample, *, own: bool = False, prompt: Wording = "problems"
) -> Outcome:
    """Leave what gold calls right, criticise and correct what it calls wrong.

    The oracle column of CriticBench (arXiv 2402.14809), as far as its figures tell: the authors
    released no code for it, and all that they print lies above keeping every solution. Nothing
    right can be lost; what is gained beside `retry` behind the same gate is the critique's. Calls:
    0 or 2, and one more for an answer of its own.

    Args:
        own: Judge the model's own answer even where the task gives a solution: self-critique.
        prompt: How the critic is asked: to look for problems, verify, review, or by principles.
    """
    solution = await critique.subject(ctx, sample, own=own)
    if await ctx.oracle(solution):
        return Outcome([solution], stop_reason="gold calls the solution right")
    return await correct(ctx, sample, solution, wording=prompt)
