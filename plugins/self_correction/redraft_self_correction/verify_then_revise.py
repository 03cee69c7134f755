"""Verify, then revise: a verdict marker after every solution decides what comes next."""

from typing import Annotated, Literal

from annotated_types import Ge, Le

from evaluators.api import (
    Context,
    Outcome,
    Prompt,
    Sample,
    Verdict,
    critique,
    evaluator,
    metrics,
    strategies,
)
from redraft_self_correction.measures import p_c2i

VERIFY = Prompt.load("redraft_self_correction", "verify_then_revise/verify")
REVISE = Prompt.load("redraft_self_correction", "verify_then_revise/revise")
CONFIRM = Prompt.load("redraft_self_correction", "verify_then_revise/confirm")


def read_marker(text: str) -> critique.Judged | None:
    """Read the last `[VERIFY] correct` or `[VERIFY] wrong`; without one, the last verdict."""
    found = critique.stated(text, mark=r"\[verify\]")
    if not found:
        return strategies.read_verdict(text)
    return "correct" if found[-1]["yes"] else "wrong"


@evaluator(
    metrics=[*metrics.decomposition, *metrics.verification, p_c2i],
    roles=["critic"],
    source="2502.19613",
)
async def verify_then_revise(
    ctx: Context,
    sample: Sample,
    *,
    rounds: Annotated[int, Ge(1), Le(8)] = 1,
    when_correct: Literal["stop", "confirm"] = "stop",
) -> Outcome:
    """Mark every solution correct or wrong, and revise until one is marked correct.

    Self-rewarding correction after Xiong et al. (arXiv 2502.19613): solution, bracketed verdict,
    revision unless the verdict approves. `confirm` is their variant of two turns: an approved
    solution is asked for once more, to be repeated without change. They train models to write
    solution and verdict in one go; here the verdict is a turn of its own, so that first answers
    are those of every other method. A verdict that cannot be read approves nothing. Another model
    may verify. Calls: at most 1 + 2 * rounds.

    Args:
        rounds: Most revisions; the last one is not verified.
        when_correct: What follows an approval: nothing, or a turn that asks to confirm.
    """
    chat = [*sample.messages]
    answers = [await ctx.generate(chat)]
    verdicts: list[Verdict] = []
    for number in range(1, rounds + 1):
        chat += [answers[-1].message, VERIFY.message()]
        checked = await strategies.check(
            ctx, chat, answer=len(answers) - 1, read=read_marker, role="critic", round=number
        )
        verdicts.append(checked.verdict)
        if checked.approves and when_correct == "stop":
            return Outcome(answers, verdicts, stop_reason=strategies.APPROVED)
        following = CONFIRM if checked.approves else REVISE
        chat += [checked.reply.message, following.message()]
        answers.append(await ctx.generate(chat, round=number))
        if checked.approves:
            return Outcome(answers, verdicts, stop_reason=strategies.APPROVED)
    return Outcome(answers, verdicts, stop_reason=strategies.OUT_OF_ROUNDS)
