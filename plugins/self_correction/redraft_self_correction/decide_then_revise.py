"""Decide, then revise: weigh whether the answer should stand, then answer again accordingly."""

from typing import Annotated, Literal

from annotated_types import Ge, Le

from evaluators.api import (
    Context,
    Outcome,
    Prompt,
    Sample,
    critique,
    evaluator,
    metrics,
    strategies,
)

DECIDE = {
    "fair": Prompt.load("redraft_self_correction", "decide_then_revise/decide_fair"),
    "biased": Prompt.load("redraft_self_correction", "decide_then_revise/decide_biased"),
}
ANSWER = Prompt.load("redraft_self_correction", "decide_then_revise/answer")


@evaluator(
    metrics=[*metrics.decomposition, *metrics.verification], roles=["critic"], source="2406.15673"
)
async def decide_then_revise(
    ctx: Context,
    sample: Sample,
    *,
    prompt: Literal["fair", "biased"] = "fair",
    temperature: Annotated[float, Ge(0), Le(2)] = 0.0,
) -> Outcome:
    """Let the model decide whether to keep or revise its answer, then answer once more.

    After Liu et al. (arXiv 2406.15673), who claim that self-correction needs a fair prompt and
    temperature 0: the decision is a draw that a low temperature sharpens. One dialogue; the third
    turn is asked for whatever was decided, and a decision to keep counts as the verdict that the
    answer is correct. The first answer follows the task, so that all settings start from the same
    one; the paper gives it the temperature too. Another model may decide. Calls: 3.

    Args:
        prompt: Whether the decision prompt speaks of right and wrong evenly, or presumes a mistake.
        temperature: Of the decision and of the second answer; 0 is greedy.
    """
    chat = [*sample.messages]
    first = await ctx.generate(chat)
    chat += [first.message, DECIDE[prompt].message()]
    decision = await strategies.check(
        ctx, chat, read=read_decision, kind="decide", role="critic", temperature=temperature
    )
    chat += [decision.reply.message, ANSWER.message()]
    second = await ctx.generate(chat, temperature=temperature)
    return Outcome([first, second], [decision.verdict])


def read_decision(text: str) -> Literal["correct", "wrong"] | None:
    """Read the last `Decision: keep` or `Decision: revise` as a verdict on the answer.

    Both in one breath are the request repeated, and no decision.
    """
    found = critique.stated(text, mark=r"\bdecision", yes="keep", no="revise")
    if not found:
        return None
    return "correct" if found[-1]["yes"] else "wrong"
