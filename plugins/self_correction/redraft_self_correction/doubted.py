"""What becomes of an answer that a verifier doubts: a critique, and another answer."""

from collections.abc import Sequence

from evaluators.api import Context, Message, Prompt, Reply

CRITIQUE = Prompt.load("redraft_self_correction", "verifier_gated_refine/critique")
REFINE = Prompt.load("redraft_self_correction", "verifier_gated_refine/refine")


async def refine(ctx: Context, chat: Sequence[Message]) -> Reply:
    """Criticise the answer that a chat ends on, and answer again."""
    asked = [*chat, CRITIQUE.message()]
    found = await ctx.generate(asked, kind="critique", round=1)
    return await ctx.generate([*asked, found.message, REFINE.message()], round=1)
