"""Two turns, neutral: a second attempt, after a hint to all alike that there may be an error."""

from evaluators.api import Context, Outcome, Prompt, Sample, evaluator, metrics, strategies
from redraft_self_correction.measures import edit_ratio

SECOND = Prompt.load("redraft_self_correction", "two_turn_neutral/second")


@evaluator(metrics=[*metrics.decomposition, edit_ratio], source="2409.12917")
async def two_turn_neutral(ctx: Context, sample: Sample) -> Outcome:
    """Attempt the question twice, the second time after a hint that there may be an error.

    The protocol with which SCoRe (arXiv 2409.12917) is trained and measured: the hint is hedged,
    mildly biased and the same for every sample, right or wrong, and the second attempt is a whole
    solution. Nothing is judged and nothing stops it. How far the second attempt is from the first
    is measured in edits. The paper decodes both attempts greedily; here both follow the task.
    Calls: 2.
    """
    first = await ctx.generate(sample.messages)
    second = await ctx.generate([*sample.messages, first.message, SECOND.message()])
    ratio = strategies.similarity.edit_ratio(first.text, second.text)
    return Outcome([first, second], facts={"edit_ratio": ratio})
