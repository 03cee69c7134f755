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

_CLOSING = re.compile(r"[*_\"'`.!)\]]*\s*")
"""What ends the verdict itself; signs that open an answer, such as of a number, are not part."""


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
    found = critique.stated(reply.text)
    if not found:
        unread = Verdict(0, None, reply.node)
        return Outcome([first, reply], [unread], stop_reason="no verdict could be read")
    if found[-1]["yes"]:
        approval = Verdict(0, "correct", reply.node)
        return Outcome([first], [approval], stop_reason="the first answer was called correct")
    refined = Answer(_CLOSING.sub("", reply.text[found[-1].end() :], count=1), reply.node)
    doubt = Verdict(0, "wrong", reply.node)
    return Outcome([first, refined], [doubt], stop_reason="the first answer was called wrong")
