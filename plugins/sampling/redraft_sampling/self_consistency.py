"""Self-consistency: several sampled answers, and the one that most of them agree on."""

from evaluators.api import Context, Outcome, Sample, evaluator, metrics, strategies
from redraft_sampling.parameters import Samples, Temperature


@evaluator(metrics=[*metrics.decomposition], requires=(), source="2203.11171", controls=())
async def self_consistency(
    ctx: Context, sample: Sample, *, samples: Samples = 5, temperature: Temperature = 0.7
) -> Outcome:
    """Sample several answers and let them vote.

    After Wang et al. (arXiv 2203.11171): plurality over extracted answers, ballots without an
    answer dropped, ties go to the answer seen first. The decomposition compares the first sample
    with the vote, so CL and CS say what voting keeps and what it mends. Calls: `samples`.

    Args:
        samples: How many answers to draw.
        temperature: Sampling temperature of every answer.
    """
    replies = await ctx.generate_many(sample.messages, samples, temperature=temperature)
    chosen, vote = await strategies.vote(ctx, replies)
    facts = {"votes": vote.votes, "valid": vote.valid, "tied": vote.tied}
    return Outcome([replies[0], chosen], facts=facts)
