"""Two turns, neutral: a second attempt, after a hint to all alike that there may be an error."""

from evaluators.api import Context, Outcome, Prompt, Sample, evaluator, metrics

SECOND = Prompt.load("redraft_self_correction", "two_turn_neutral/second")


@evaluator(metrics=[*metrics.decomposition], source="2409.12917")
async def two_turn_neutral(ctx: Context, sample: Sample) -> Outcome:
    """Attempt the question twice, the second time after a hint that there may be an error.

    The protocol with which SCoRe (arXiv 2409.12917) is trained and measured: the hint is hedged,
    mildly biased and the same for every sample, right or wrong, and the second attempt is a whole
    solution. Nothing is judged and nothing stops it. The paper decodes both attempts greedily;
    here both follow the task. Calls: 2.
    """
    first = await ctx.generate(sample.messages)
    second = await ctx.generate([*sample.messages, first.message, SECOND.message()])
    return Outcome([first, second])
