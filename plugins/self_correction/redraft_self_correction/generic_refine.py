"""Generic refine: a critique that fits any kind of task, then a better response."""

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

CRITIQUE = Prompt.load("redraft_self_correction", "generic_refine/critique")
REFINE = Prompt.load("redraft_self_correction", "generic_refine/refine")


@evaluator(
    metrics=[*metrics.decomposition, *metrics.perf_gain_cost], roles=["critic"], source="2310.07611"
)
async def generic_refine(
    ctx: Context, sample: Sample, *, rounds: Annotated[int, Ge(1), Le(8)] = 1
) -> Outcome:
    """Criticise the response without regard to the kind of task, then write a better one.

    Domain-agnostic self-refinement after Shashidhar et al. (arXiv 2310.07611): the critique has no
    target but that something may be better, every turn starts afresh from the question with the
    latest response quoted below it, and nothing stops it. Performance, gain and cost stand beside
    the decomposition; the paper's own score of them is not used, its formula being unchecked.
    Another model may play the critic. Calls: 1 + 2 * rounds.

    Args:
        rounds: How often to criticise and refine.
    """
    answers = [await ctx.generate(sample.messages)]
    for number in range(1, rounds + 1):
        latest = answers[-1]
        response = critique.quoted(latest.message.content, "response")
        points = await ctx.generate(
            strategies.instructed(
                sample.messages, CRITIQUE.message(response=response), begun=False
            ),
            kind="critique",
            role="critic",
            round=number,
            parents=[latest],
        )
        told = REFINE.message(response=response, critique=critique.quoted(points.text, "critique"))
        chat = strategies.instructed(sample.messages, told)
        answers.append(await ctx.generate(chat, round=number, parents=[latest, points]))
    return Outcome(answers)
