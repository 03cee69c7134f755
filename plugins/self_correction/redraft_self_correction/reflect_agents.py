"""Reflection agents: reflect on a wrong answer with the right one in view, then answer again."""

from typing import Annotated, Literal

from annotated_types import Ge, Le

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
from redraft_self_correction.reflections import read_parts, redacted

REFLECT = Prompt.load("redraft_self_correction", "reflect_agents/reflect")
AGAIN = Prompt.load("redraft_self_correction", "reflect_agents/again")
RETRY = Prompt.load("redraft_self_correction", "reflect_agents/retry")

Agent = Literal[
    "retry", "keywords", "advice", "instructions", "explanation", "solution", "composite",
    "unredacted",
]  # fmt: skip


@evaluator(
    metrics=[*metrics.decomposition],
    information="oracle",
    source="2405.06682",
    controls=("greedy", "retry"),
)
async def reflect_agents(
    ctx: Context,
    sample: Sample,
    *,
    agent: Agent = "composite",
    reflection_tokens: Annotated[int, Ge(64), Le(4096)] = 512,
) -> Outcome:
    """Answer wrong questions again with the help of a reflection that has seen the right answer.

    After Renze and Guven (arXiv 2405.06682). Gold decides which answers are wrong; one call, shown
    the right answer, writes a reflection in five parts; the labels and texts of choices, or the
    right answer where there are none, are masked in it; then the question is answered afresh, the
    wrong answer out of sight, by an agent that sees some of the parts. What a reflection is worth
    is what its agent gains over the agent `retry`. A part that the reflection lacks is shown
    empty. Without the authors' worked example. Calls: at most 3; 1 where the first answer is
    right, 2 for `retry`.

    Args:
        agent: What is seen when answering again: `retry` nothing but that the answer was wrong,
            `composite` the whole reflection, `unredacted` the same without masks, a leak; else the
            part of that name.
        reflection_tokens: Most tokens of the reflection.
    """
    first = await ctx.generate(sample.messages)
    verdict = await ctx.oracle(first)
    if verdict:
        return Outcome([first], stop_reason="the first answer was right")
    told, parents = RETRY.message(), [first]
    parts, masks = dict[str, str](), 0
    if agent != "retry":
        reflection = await _reflect(ctx, sample, first, gold=verdict.gold, tokens=reflection_tokens)
        text, parts = reflection.text, read_parts(reflection.text)
        if agent not in {"composite", "unredacted"}:
            text = f"{agent.capitalize()}: {parts.get(agent, '')}"
        if agent != "unredacted":
            text, masks = redacted(text, await _secrets(ctx, sample, verdict.gold))
        told = AGAIN.message(reflection=critique.quoted(text, "reflection"))
        parents.append(reflection)
    chat = strategies.instructed(sample.messages, told)
    again = await ctx.generate(chat, round=1, agent=agent, parents=parents)
    return Outcome(
        [first, again],
        facts={"parts": list(parts), "masks": masks},
        stop_reason="answered again",
    )


async def _reflect(ctx: Context, sample: Sample, first: Reply, *, gold: str, tokens: int) -> Reply:
    chat = [*sample.messages, first.message, REFLECT.message(gold=gold)]
    return await ctx.generate(chat, kind="reflect", round=1, max_tokens=tokens)


async def _secrets(ctx: Context, sample: Sample, gold: str) -> list[str]:
    """Return what must not be seen: labels and texts of choices, and the right answer."""
    labels = sample.metadata.get("labels")
    letters = [str(label) for label in labels] if isinstance(labels, list | tuple) else []
    return [*sample.choices, *letters, gold, await ctx.extract(gold) or ""]
