"""Checklist refinement: answer again so that the items that failed pass too."""

from typing import Annotated

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
from redraft_self_correction import checklist

REFINE = Prompt.load("redraft_self_correction", "checklist/refine")


@evaluator(
    metrics=[*metrics.decomposition, *metrics.verification], roles=["critic"], source="2410.03608"
)
async def checklist_refine(
    ctx: Context,
    sample: Sample,
    *,
    items: Annotated[int, Ge(1), Le(16)] = 5,
    rounds: Annotated[int, Ge(1), Le(5)] = 1,
) -> Outcome:
    """Refine an answer on the items of a model-written checklist that it fails.

    STICK (Cook et al., arXiv 2410.03608): the checklist of `checklist_score` is written once; the
    items that the answer does not clearly pass go back to it with the reasons given, until all
    pass. A checklist in which no item can be read says nothing to refine on, and ends the method.
    Another model may write and judge. Calls: at most 2 + (items + 1) * rounds.

    Args:
        items: Most items of a checklist.
        rounds: Most refinements; the last one is not held against the checklist.
    """
    answers = [await ctx.generate(sample.messages)]
    written, questions = await checklist.write_checklist(ctx, sample, limit=items)
    if not questions:
        unread = Verdict(0, None, written.node)
        return Outcome(answers, [unread], {"items": 0}, "the checklist has no items")
    verdicts: list[Verdict] = []
    facts = {"items": len(questions)}
    for number in range(1, rounds + 1):
        found = await checklist.hold_against(
            ctx, sample, answers[-1], items=questions, written=written, round=number
        )
        verdicts.append(found.verdict(len(answers) - 1))
        if not found.failed:
            return Outcome(answers, verdicts, facts, strategies.APPROVED)
        failed = "\n\n".join(
            critique.quoted(f"{item.question}\n{item.reason.text}", f"item {place}")
            for place, item in enumerate(found.failed, start=1)
        )
        chat = [*sample.messages, answers[-1].message, REFINE.message(failed=failed)]
        reasons = [item.reason for item in found.failed]
        answers.append(await ctx.generate(chat, round=number, parents=reasons))
    return Outcome(answers, verdicts, facts, strategies.OUT_OF_ROUNDS)
