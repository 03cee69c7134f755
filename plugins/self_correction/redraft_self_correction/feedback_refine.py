"""Feedback and refinement in one reply: assess the answer, pass a verdict, write a better one."""

import re
from typing import Annotated

from annotated_types import Ge, Le

from evaluators.api import (
    Answer,
    Context,
    Outcome,
    Prompt,
    Sample,
    Verdict,
    critique,
    evaluator,
    metrics,
)

ASSESS = Prompt.load("redraft_self_correction", "feedback_refine/assess")

_VERDICT = re.compile(r"\bverdict\W{0,6}(?:not\s+)?\w+\W*", re.IGNORECASE)


@evaluator(metrics=[*metrics.decomposition, *metrics.verification], source="2310.00533")
async def feedback_refine(
    ctx: Context, sample: Sample, *, max_tokens: Annotated[int, Ge(64), Le(8192)] = 512
) -> Outcome:
    """Assess the answer and, where the assessment finds it wrong, refine it in the same reply.

    One pass of self-feedback and self-refinement as SELF (arXiv 2310.00533) makes it at test time:
    a single reply checks the answer, says whether it is correct, and gives the answer to take.
    What follows the verdict is the second answer; after the verdict "correct" the first one
    stands, and without a readable verdict the whole reply counts. The task's stop strings and
    token limit would cut the second reply off in its feedback and do not apply to it. Calls: 2.

    Args:
        max_tokens: Most tokens of the reply that holds feedback and refinement.
    """
    first = await ctx.generate(sample.messages)
    chat = [*sample.messages, first.message, ASSESS.message()]
    reply = await ctx.generate(chat, max_tokens=max_tokens, stop=())
    verdict = Verdict(0, critique.parse_verdict(reply.text), reply.node)
    if verdict.value == "correct":
        return Outcome([first], [verdict], stop_reason="the first answer was called correct")
    if verdict.value is None:
        return Outcome([first, reply], [verdict], stop_reason="no verdict could be read")
    refined = Answer(_VERDICT.split(reply.text)[-1], reply.node)
    return Outcome([first, refined], [verdict], stop_reason="the first answer was called wrong")
