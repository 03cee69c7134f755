"""Self-consistency for open-ended generations: the sample that has most in common with the rest."""

from collections.abc import Mapping
from typing import Literal

from evaluators.api import (
    Context,
    Outcome,
    Reply,
    Sample,
    answer_key,
    evaluator,
    metrics,
    strategies,
)
from redraft_sampling.parameters import Samples, Temperature

Similarity = Literal["ucs", "bigram", "exact"]


@evaluator(
    metrics=[*metrics.decomposition],
    requires=(),
    source="2307.06857",
    controls=("greedy", "sc_calls", "sc_tokens", "best_of_n"),
)
async def open_ended_sc(
    ctx: Context,
    sample: Sample,
    *,
    samples: Samples = 5,
    similarity: Similarity = "ucs",
    temperature: Temperature = 0.7,
) -> Outcome:
    """Sample several answers and take the one most similar to all others.

    After Jain et al. (arXiv 2307.06857): every sample's mean similarity with the others, the
    highest wins, ties go to the sample seen first; here, samples without an answer only win
    where none has one. Their tokens are the model's, ours are words and marks, since a text's
    tokens are not told without log-probabilities; with them, see weighted_open_ended_sc.
    Calls: samples.

    Args:
        samples: How many answers to draw.
        similarity: Shared words over the vocabulary (`ucs`, unigram consistency score), the same
            of pairs of words (`bigram`), or equal extracted answers, which makes the choice
            self-consistency's vote (`exact`).
        temperature: Sampling temperature of every answer.
    """
    replies = await ctx.generate_many(sample.messages, samples, temperature=temperature)
    texts = [await _weights(ctx, reply, similarity) for reply in replies]
    scores = strategies.similarity.consistency(texts)
    chosen, choice = await strategies.ranking.choose(ctx, replies, scores)
    return Outcome([replies[0], chosen], facts=choice.facts)


async def _weights(ctx: Context, reply: Reply, similarity: Similarity) -> Mapping[str, float]:
    if similarity == "exact":
        answer = await ctx.extract(reply)
        return {} if answer is None else {str(answer_key(answer)): 1.0}
    size = 1 if similarity == "ucs" else 2
    return strategies.similarity.presence(reply.text, size=size)
