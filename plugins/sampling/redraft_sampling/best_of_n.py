"""Best of N: several sampled answers, each given a mark by the model, and the best of them."""

import asyncio

from evaluators.api import (
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
from redraft_sampling.parameters import Samples, Temperature

RATE = Prompt.load("redraft_sampling", "best_of_n/rate")
MOST = 10
"""The highest mark, as the prompt says."""


@evaluator(metrics=[*metrics.decomposition], roles=["critic"], controls=())
async def best_of_n(
    ctx: Context, sample: Sample, *, samples: Samples = 5, temperature: Temperature = 0.7
) -> Outcome:
    """Sample several answers, have each one marked from 0 to 10, and take the best.

    A control: what choosing among independent answers is worth, without any correction. Every
    answer is marked in a call of its own that sees no other; the marks are greedy. Marks that
    cannot be read rank last, ties go to the answer seen first. Another model may play the critic.
    By the model's own log-probabilities, and in half the calls: bon_logprob. Calls: 2 * samples.

    Args:
        samples: How many answers to draw.
        temperature: Sampling temperature of every answer.
    """
    replies = await ctx.generate_many(sample.messages, samples, temperature=temperature)
    async with asyncio.TaskGroup() as group:  # one refused call cancels its siblings
        marks = [group.create_task(_mark(ctx, sample, reply)) for reply in replies]
    chosen, choice = await strategies.ranking.choose(ctx, replies, [m.result() for m in marks])
    unread = sum(mark is None for mark in choice.scores)
    return Outcome([replies[0], chosen], facts={**choice.facts, "unread": unread})


async def _mark(ctx: Context, sample: Sample, reply: Reply) -> float | None:
    request = RATE.message(
        question=critique.quoted(strategies.question_text(sample), "question"),
        response=critique.quoted(reply.text, "response"),
    )
    said = await ctx.generate([request], kind="verify", role="critic", round=1, parents=[reply])
    return strategies.ranking.read_mark(critique.own_words(said.text, "response"), most=MOST)
