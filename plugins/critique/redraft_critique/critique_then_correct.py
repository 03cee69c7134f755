"""Critique, then correct: CriticBench's correction with the help of the model's own critique."""

from evaluators.api import (
    Answer,
    Context,
    Outcome,
    Prompt,
    Reply,
    Sample,
    critique,
    evaluator,
    metrics,
    strategies,
)
from redraft_critique.judging import Wording, judge

CORRECT = Prompt.load("redraft_critique", "critique_then_correct/correct")


@evaluator(
    metrics=[*metrics.decomposition, *metrics.judging], roles=["critic"], source="2402.14809"
)
async def critique_then_correct(
    ctx: Context, sample: Sample, *, own: bool = False, prompt: Wording = "problems"
) -> Outcome:
    """Criticise a given solution, or the model's own answer, then answer anew with the critique.

    Abilities Q and C of CriticBench (arXiv 2402.14809), greedily and without examples: Q is read
    as `[[correct]]` or `[[wrong]]`, its figure is `verdict_F1_wrong`; C sees question, solution and
    the critique in full, whatever its verdict, and its figure is `acc@last`, beside `acc@1` of
    keeping every solution. Answers have the task's form, not the benchmark's brackets, and the
    task's decoding. Calls: 2, or 3 for an answer of its own.

    Args:
        own: Judge the model's own answer even where the task gives a solution: self-critique.
        prompt: How the critic is asked: to look for problems, verify, review, or by principles.
    """
    solution = await critique.subject(ctx, sample, own=own)
    return await correct(ctx, sample, solution, wording=prompt)


async def correct(
    ctx: Context, sample: Sample, solution: Reply | Answer, *, wording: Wording
) -> Outcome:
    """Criticise a solution and correct it; two calls."""
    judged = await judge(ctx, sample, solution, way="thu", wording=wording, temperature=0)
    asked = CORRECT.message(
        question=strategies.question_text(sample),
        solution=critique.quoted(solution.text, critique.LABEL),
        critique=critique.quoted(judged.reply.text, "critique"),
    )
    answer = await ctx.generate([asked], round=1, parents=[solution.node, judged.reply])
    return Outcome([solution, answer], [judged.verdict()])
