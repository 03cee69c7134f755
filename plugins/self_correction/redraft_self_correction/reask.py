"""Reask: put the same question a second time and see which answers survive."""

from typing import Annotated

from annotated_types import Ge, Le

from evaluators.api import Context, Outcome, Sample, evaluator, metrics


@evaluator(metrics=[*metrics.decomposition], source="2412.19513")
async def reask(
    ctx: Context, sample: Sample, *, rounds: Annotated[int, Ge(1), Le(8)] = 1
) -> Outcome:
    """Ask the same question again after the model's own answer.

    No word of criticism: the second answer shows how sure the model is of the first. The
    protocol behind the CL and CS of "Confidence v.s. Critique" (arXiv 2412.19513), with the
    task's own sampling in place of the model's generation defaults. Calls: 1 + rounds.

    Args:
        rounds: How many times to ask again.
    """
    chat = [*sample.messages]
    answers = [await ctx.generate(chat)]
    for _ in range(rounds):
        chat += [answers[-1].message, *sample.question]
        answers.append(await ctx.generate(chat))
    return Outcome(answers)
