"""Open-ended self-consistency by the model's own tokens, weighted with their probabilities."""

from evaluators.api import Context, Outcome, Sample, evaluator, metrics, strategies
from redraft_sampling.parameters import Samples, Temperature


@evaluator(
    metrics=[*metrics.decomposition],
    requires=["token_logprobs"],
    source="2307.06857",
    controls=("greedy", "sc_calls", "sc_tokens", "best_of_n"),
)
async def weighted_open_ended_sc(
    ctx: Context, sample: Sample, *, samples: Samples = 5, temperature: Temperature = 0.7
) -> Outcome:
    """Sample several answers and take the one whose likely tokens the others share.

    The weighted unigram consistency score of Jain et al. (arXiv 2307.06857): open_ended_sc over
    the model's tokens, each weighing its mean probability where it stands. Calls: samples.

    Args:
        samples: How many answers to draw.
        temperature: Sampling temperature of every answer.
    """
    replies = await ctx.generate_many(sample.messages, samples, temperature=temperature, logprobs=0)
    texts = [strategies.similarity.mean_probabilities(reply.logprobs) for reply in replies]
    scores = strategies.similarity.consistency(texts)
    chosen, choice = await strategies.ranking.choose(ctx, replies, scores)
    return Outcome([replies[0], chosen], facts=choice.facts)
