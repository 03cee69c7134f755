"""Answer, critique, revision with exactly the requests of Inspect's `self_critique` solver."""

from evaluators.api import Context, Outcome, Sample, evaluator, metrics, user


@evaluator(metrics=[*metrics.decomposition])
async def self_critique(
    ctx: Context, sample: Sample, *, critique: str, completion: str, max_tokens: int
) -> Outcome:
    """Criticise the answer in a chat of its own, then answer again in the first chat.

    Args:
        critique: Inspect's template for the critique.
        completion: Inspect's template for the revision.
        max_tokens: Limit of every call.
    """
    plain = {"temperature": 0.0, "max_tokens": max_tokens, "stop": ()}
    question = sample.messages[-1].content
    first = await ctx.generate(sample.messages, **plain)
    asked = critique.format(question=question, completion=first.text)
    found = await ctx.generate([user(asked)], kind="critique", parents=[first], **plain)
    told = completion.format(question=question, completion=first.text, critique=found.text)
    chat = [*sample.messages, first.message, user(told)]
    return Outcome([first, await ctx.generate(chat, parents=[found], **plain)])


@evaluator(metrics=[*metrics.decomposition])
async def first_answer(ctx: Context, sample: Sample, *, max_tokens: int) -> Outcome:
    """Make the first answer alone, as an earlier run of any other method would have.

    Args:
        max_tokens: Limit of the call.
    """
    plain = {"temperature": 0.0, "max_tokens": max_tokens, "stop": ()}
    return Outcome([await ctx.generate(sample.messages, **plain)])
