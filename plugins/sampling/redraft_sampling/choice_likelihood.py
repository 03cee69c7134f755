"""Choice likelihood: take the option that the model finds likeliest, without having it write."""

from evaluators.api import Context, Outcome, Sample, evaluator, metrics


@evaluator(metrics=[*metrics.decomposition], requires=["echo"], modes=["likelihood"], controls=())
async def choice_likelihood(ctx: Context, sample: Sample) -> Outcome:
    """Weigh every option as the answer's text and take the likeliest.

    Sample by sample the `acc` that lm-eval gives, and its other metrics beside it: log-likelihoods
    summed over an option's tokens, all options in one call. Calls: 1, nothing generated.
    """
    scores = await ctx.likelihood(sample.messages, sample.choices)
    return Outcome([scores.answer()])
