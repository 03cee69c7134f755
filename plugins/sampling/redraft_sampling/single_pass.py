"""Single pass: one call, one answer; what every other method is measured against."""

from evaluators.api import Context, Outcome, Sample, evaluator, metrics


@evaluator(metrics=[*metrics.decomposition], requires=())
async def single_pass(ctx: Context, sample: Sample) -> Outcome:
    """Ask once and take the answer as it comes.

    Sample by sample the score that lm-eval gives. Where the task decodes at temperature 0, this
    is the greedy control. Calls: 1.
    """
    return Outcome([await ctx.generate(sample.messages)])
