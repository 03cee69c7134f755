"""Reask by logits: how sure the model is of every label, and how it answers after each of them."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace

from evaluators.api import (
    Answer,
    Context,
    Message,
    Outcome,
    Sample,
    Scores,
    assistant,
    evaluator,
    metrics,
)


@evaluator(
    metrics=[*metrics.decomposition, *metrics.labels],
    requires=["chat", "label_likelihood"],
    modes=["generative", "likelihood"],
    source="2412.19513",
    controls=(),
)
async def reask_logits(ctx: Context, sample: Sample, *, lead_in: str = "") -> Outcome:
    """Weigh the labels, then force each as the answer, put the question again and weigh once more.

    The classification estimator of "Confidence v.s. Critique" (arXiv 2412.19513): p1 is the
    model's distribution over the labels, p2 that of the second answer after each forced first one.
    The second answer graded is the likeliest under the sum of p1[j]·p2[j]; CL, CS and RSS over all
    labels stand apart from those of the two answers. Labels must be one token each: the letters
    of options in writing, or the options themselves. Calls: 1 + labels, nothing generated.

    Args:
        lead_in: Words that open every answer, before its label; none by default.
    """
    labels = _labels(sample)
    chat, begun = _begun(sample)
    begun += lead_in
    opening = [assistant(begun)] if begun else []
    first = await ctx.likelihood([*chat, *opening], labels, labels=True)

    async def again(label: str) -> Scores:
        given = ctx.record("given", begun + label, parents=[first.node])
        forced = Message("assistant", given.text, node=given.idx)
        asked = [*chat, forced, *sample.question, *opening]
        return await ctx.likelihood(asked, labels, labels=True, round=1)

    async with asyncio.TaskGroup() as group:  # one refused call cancels its siblings
        calls = [group.create_task(again(label)) for label in labels]
    second = [call.result() for call in calls]
    p1, p2 = first.probabilities, [scores.probabilities for scores in second]
    mixed = [math.fsum(p * row[k] for p, row in zip(p1, p2, strict=True)) for k in range(len(p1))]
    merged = ctx.record("merge", round=1, parents=[s.node for s in second], weights=list(p1))
    return Outcome(
        [first.answer(), _answer(first, mixed, merged.idx)],
        facts={"labels": list(labels), "p1": list(p1), "p2": [list(row) for row in p2]},
    )


def _begun(sample: Sample) -> tuple[Sequence[Message], str]:
    """Return the prompt without the words with which the task begins the answer, and those."""
    *before, last = sample.messages
    return (before, last.content) if last.role == "assistant" else (sample.messages, "")


def _labels(sample: Sample) -> Sequence[str]:
    """Return the letters under which the options are shown, or the options themselves."""
    shown = sample.metadata.get("labels")
    labels = list(map(str, shown)) if isinstance(shown, list | tuple) else list(sample.choices)
    if len(labels) < 2:
        raise ValueError("the sample has no options to choose from")
    return labels


def _answer(first: Scores, probabilities: Sequence[float], node: int) -> Answer:
    """Return the likeliest label under the given probabilities, with all of them."""
    best = probabilities.index(max(probabilities))
    choices = tuple(
        replace(choice, logprob=math.log(p) if p > 0 else -1e9, greedy=False)
        for choice, p in zip(first.choices, probabilities, strict=True)
    )
    return Answer(first.choices[best].text, node, choices)
