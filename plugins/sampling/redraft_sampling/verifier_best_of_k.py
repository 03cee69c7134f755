"""Best of k by a verifier: several samples, and the one that a verifier finds likeliest right."""

import asyncio

from evaluators.api import (
    Context,
    Outcome,
    Prompt,
    Reply,
    Sample,
    Verdict,
    critique,
    evaluator,
    metrics,
    strategies,
)
from redraft_sampling.labels import judged
from redraft_sampling.parameters import Samples, Temperature

JUDGE = Prompt.load("redraft_sampling", "verifier_best_of_k/judge")


@evaluator(
    metrics=[*metrics.decomposition, *metrics.candidates],
    requires=["chat", "label_likelihood"],
    roles=["critic"],
    source="2402.06457",
    controls=("greedy", "sc_calls", "sc_tokens", "best_of_n"),
)
async def verifier_best_of_k(
    ctx: Context, sample: Sample, *, samples: Samples = 8, temperature: Temperature = 0.7
) -> Outcome:
    """Sample several solutions and take the one that a verifier finds likeliest to be correct.

    After Hosseini et al. (arXiv 2402.06457), whose verifier is trained: give one as the critic,
    else the model verifies its own solutions by the probabilities of the labels for correct and
    wrong. All samples are answer states, the choice is the last: verifier@k follows from every
    sample's score and grade. Samples without an answer only win where none has one.
    Calls: 2 * samples.

    Args:
        samples: How many solutions to draw.
        temperature: Sampling temperature of every solution.
    """
    replies = await ctx.generate_many(sample.messages, samples, temperature=temperature)
    async with asyncio.TaskGroup() as group:  # one refused call cancels its siblings
        calls = [
            group.create_task(_verdict(ctx, sample, reply, index))
            for index, reply in enumerate(replies)
        ]
    verdicts = [call.result() for call in calls]
    scores = [verdict.score for verdict in verdicts]
    chosen, choice = await strategies.ranking.choose(ctx, replies, scores)
    return Outcome([*replies, chosen], verdicts, facts=choice.facts)


async def _verdict(ctx: Context, sample: Sample, reply: Reply, index: int) -> Verdict:
    request = JUDGE.message(
        question=critique.quoted(strategies.question_text(sample), "question"),
        solution=critique.quoted(reply.text, "solution"),
    )
    return await judged(ctx, request, answer=index, parents=[reply])
