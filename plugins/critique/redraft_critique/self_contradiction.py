"""Self-contradiction: does the model notice when it contradicts itself, and can it settle that?"""

from typing import Annotated

from annotated_types import Gt, Le

from evaluators.api import (
    Context,
    Outcome,
    Prompt,
    Reply,
    Sample,
    critique,
    evaluator,
    metrics,
    same_answer,
    strategies,
)

DETECT = Prompt.load("redraft_critique", "self_contradiction/detect")
REVISE = Prompt.load("redraft_critique", "self_contradiction/revise")


@evaluator(
    metrics=[*metrics.decomposition, *metrics.contradiction],
    roles=["critic"],
    source="2305.15852",
)
async def self_contradiction(
    ctx: Context, sample: Sample, *, temperature: Annotated[float, Gt(0), Le(2)] = 1.0
) -> Outcome:
    """Sample a second answer, have the model tell whether both contradict, and revise if they do.

    After Mündler et al. (arXiv 2305.15852), who trigger, detect and mitigate contradictions between
    sentences of generated texts. Here the two are answers to one question: whether they differ as
    the task extracts them is known without a judge, so the rate is exact and detection is scored
    against it. Only where a contradiction is noticed, the model sees both and answers once more; it
    is removed when that agrees with one of the two. How much information revision keeps is not
    measured: an answer either holds or not. A check that cannot be read notices nothing, and is
    counted. Calls: 3, or 4 where a contradiction is noticed.

    Args:
        temperature: Of the second answer; the first and the revised follow the task, the check is
            greedy.
    """
    first = await ctx.generate(sample.messages)
    second = await ctx.generate(sample.messages, temperature=temperature, agent="second")
    extracted = [await ctx.extract(reply) for reply in (first, second)]
    known = None not in extracted
    check = await _compare(ctx, sample, first, second)
    own = critique.own_words(check.text, "answer 1", "answer 2")
    said = critique.stated(own, mark=r"\bcontradiction", yes="yes", no="no")
    noticed = bool(said[-1]["yes"]) if said else None
    facts: dict[str, bool | None] = {
        "contradictory": not same_answer(*extracted) if known else None,
        "noticed": noticed,
        "settled": None,
    }
    if not noticed:
        return Outcome([first], facts=facts, stop_reason="no contradiction was noticed")
    asked = REVISE.message(
        answer=critique.quoted(second.text, "other answer"),
        check=critique.quoted(check.text, "check"),
    )
    chat = [*sample.messages, first.message, asked]
    revised = await ctx.generate(chat, round=1, parents=[second, check])
    final = await ctx.extract(revised)
    facts["settled"] = any(same_answer(final, one) for one in extracted)
    return Outcome([first, revised], facts=facts, stop_reason="a contradiction was revised")


async def _compare(ctx: Context, sample: Sample, first: Reply, second: Reply) -> Reply:
    asked = DETECT.message(
        question=strategies.question_text(sample),
        answers=strategies.numbered([first.text, second.text], label="answer"),
    )
    return await ctx.generate(
        [asked], kind="verify", role="critic", round=1, parents=[first, second]
    )
