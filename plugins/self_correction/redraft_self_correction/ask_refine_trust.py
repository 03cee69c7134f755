"""Ask, refine, trust: sub-questions decide whether to refine, and a ranker which answer to keep."""

from typing import Annotated

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
from redraft_self_correction.measures import refine_decision, truster_acc

ASK = Prompt.load("redraft_self_correction", "ask_refine_trust/ask")
REFINE = Prompt.load("redraft_self_correction", "ask_refine_trust/refine")
TRUST = Prompt.load("redraft_self_correction", "ask_refine_trust/trust")


@evaluator(
    metrics=[*metrics.decomposition, *metrics.verification, *refine_decision, truster_acc],
    roles=["critic", "judge"],
    source="2311.07961",
)
async def ask_refine_trust(
    ctx: Context, sample: Sample, *, questions: Annotated[int, Ge(1), Le(12)] = 4
) -> Outcome:
    """Ask sub-questions, refine an answer that does not settle them, and choose which to trust.

    ART (Shridhar et al., arXiv 2311.07961) with prompts in place of its fine-tuned asker and
    ranker: the critic asks, the judge chooses; another model may play either. The asker's verdict
    is the decision to refine, so its recall of errors and its precision stand among the verdicts.
    The answers are the first, the refined and the trusted one; a choice that cannot be read
    trusts the first, and a verdict that cannot be read leads to refinement.
    Calls: 2, or 4 where the answer is refined.

    Args:
        questions: Most sub-questions asked for.
    """
    question = critique.quoted(strategies.question_text(sample), "question")
    first = await ctx.generate(sample.messages)
    asked = ASK.message(
        question=question,
        answer=critique.quoted(first.message.content, "answer"),
        limit=str(questions),
    )
    asker = await strategies.check(
        ctx, [asked], role="critic", round=1, parents=[first], labels=("question", "answer")
    )
    if asker.approves:
        return Outcome([first], [asker.verdict], stop_reason=strategies.APPROVED)
    refined = await strategies.refined_by(ctx, sample, REFINE)(first, asker, 1)
    both = strategies.numbered([first.message.content, refined.message.content])
    trust = await ctx.generate(
        [TRUST.message(question=question, responses=both)],
        kind="select",
        role="judge",
        round=1,
        parents=[first, refined],
    )
    own = critique.own_words(trust.text, "question", "response 1", "response 2")
    choice = strategies.read_choice(own, 2)
    facts = {"trusted": "refined" if choice == 1 else "first", "choice_unread": choice is None}
    trusted = refined if choice == 1 else first
    return Outcome([first, refined, trusted], [asker.verdict], facts, stop_reason="refined")
