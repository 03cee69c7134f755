"""Checklist score: the share of a model-written checklist that an answer passes."""

from typing import Annotated

from annotated_types import Ge, Le

from evaluators.api import Context, Outcome, Sample, evaluator, metrics
from redraft_self_correction import checklist


@evaluator(
    metrics=[*metrics.decomposition, *metrics.verification],
    roles=["critic"],
    source="2410.03608",
    controls=(),
)
async def checklist_score(
    ctx: Context, sample: Sample, *, items: Annotated[int, Ge(1), Le(16)] = 5
) -> Outcome:
    """Write a checklist for the question and count how much of it the answer passes.

    TICK (Cook et al., arXiv 2410.03608): YES/NO questions from the question alone, each answered
    about the response in a call of its own; the pass rate is the verdict's score. The verdict
    itself, correct where all items pass, is ours, so that checklists compare with other verifiers.
    A reply without YES or NO does not pass and is counted. Another model may write and judge.
    Calls: 2 + the items of the checklist, at most 2 + items.

    Args:
        items: Most items of a checklist.
    """
    answer = await ctx.generate(sample.messages)
    written, questions = await checklist.write_checklist(ctx, sample, limit=items)
    found = await checklist.hold_against(
        ctx, sample, answer, items=questions, written=written, round=1
    )
    facts = {
        "items": len(found.items),
        "passed": len(found.items) - len(found.failed),
        "unread": sum(item.passed is None for item in found.items),
    }
    return Outcome([answer], [found.verdict(0)], facts)
