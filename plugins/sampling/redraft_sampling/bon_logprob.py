"""Best of N by log-probability: the sample that the model itself finds likeliest."""

import math
from typing import Literal

from evaluators.api import Context, Outcome, Reply, Sample, evaluator, metrics, strategies
from redraft_sampling.parameters import Samples, Temperature


@evaluator(
    metrics=[*metrics.decomposition],
    requires=["token_logprobs"],
    source="2412.01951",
    controls=(),
)
async def bon_logprob(
    ctx: Context,
    sample: Sample,
    *,
    samples: Samples = 5,
    score: Literal["sum", "mean"] = "sum",
    temperature: Temperature = 0.7,
) -> Outcome:
    """Sample several answers and take the one with the highest log-probability.

    Inference-time sharpening after Huang et al. (arXiv 2412.01951), and the control that costs
    exactly as many calls as it draws samples. The probabilities are the model's own at
    temperature 1. Samples without an answer only win where none has one; ties go to the sample
    seen first. Calls: samples.

    Args:
        samples: How many answers to draw.
        score: The sum over all tokens, which prefers short answers, or their mean.
        temperature: Sampling temperature of every answer.
    """
    replies = await ctx.generate_many(sample.messages, samples, temperature=temperature, logprobs=0)
    scores = [_score(reply, mean=score == "mean") for reply in replies]
    chosen, choice = await strategies.ranking.choose(ctx, replies, scores)
    return Outcome([replies[0], chosen], facts=choice.facts)


def _score(reply: Reply, *, mean: bool) -> float | None:
    if not reply.logprobs:
        return None
    total = math.fsum(token.logprob for token in reply.logprobs)
    return total / len(reply.logprobs) if mean else total
