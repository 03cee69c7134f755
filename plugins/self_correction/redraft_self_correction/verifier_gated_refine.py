"""Verifier-gated refinement: only an answer that a verifier doubts is refined."""

from typing import Annotated, Literal

from annotated_types import Ge, Le

from evaluators.api import (
    Context,
    Outcome,
    Prompt,
    Sample,
    evaluator,
    metrics,
    strategies,
)
from redraft_self_correction.doubted import refine
from redraft_self_correction.measures import p_c2i

SCORE = Prompt.load("redraft_self_correction", "verifier_gated_refine/score")
JUDGE = Prompt.load("redraft_self_correction", "verifier_gated_refine/judge")

MOST = 10
"""The highest score, as the prompt says."""


def read_score(text: str, threshold: float) -> strategies.Reading | None:
    """Read the last `Score: N`, 0 to 10, as a chance; from the threshold on it approves."""
    score = strategies.ranking.read_mark(text, most=MOST)
    if score is None:
        return None
    chance = score / MOST
    return strategies.Reading("correct" if chance >= threshold else "wrong", chance)


@evaluator(
    metrics=[*metrics.decomposition, *metrics.verification, p_c2i],
    roles=["critic"],
    source="2404.17140",
)
async def verifier_gated_refine(
    ctx: Context,
    sample: Sample,
    *,
    verifier: Literal["weak", "strong"] = "weak",
    threshold: Annotated[float, Ge(0), Le(1)] = 0.5,
) -> Outcome:
    """Refine an answer only where a verifier does not approve of it.

    After "Small Language Models Need Strong Verifiers to Self-Correct Reasoning" (Zhang et al.,
    arXiv 2404.17140), without its training. The weak verifier is the model's own score of its
    answer; the strong one is the critic, which may be another model, judging question and answer
    afresh. Its third one, gold, is `verifier_gated_refine_oracle`. What the verifier says is not
    shown to the refiner, so that verifiers compare. An unreadable verdict approves nothing.
    Calls: 2, or 4 where the answer is refined.

    Args:
        verifier: Whether the model scores its own answer, or the critic judges it.
        threshold: Chance of being right, from 0 to 1, from which the weak verifier approves.
    """
    first = await ctx.generate(sample.messages)
    chat = [*sample.messages, first.message]
    if verifier == "weak":
        checked = await strategies.check(
            ctx, [*chat, SCORE.message()], read=lambda text: read_score(text, threshold), round=1
        )
    else:
        checked = await strategies.check_afresh(
            ctx, sample, first, prompt=JUDGE, kind="verify", round=1
        )
    if checked.approves:
        return Outcome([first], [checked.verdict], stop_reason=strategies.APPROVED)
    return Outcome([first, await refine(ctx, chat)], [checked.verdict], stop_reason="refined")
