"""Retry: tell the model that its answer is wrong, nothing else, and only where it is."""

from typing import Annotated

from annotated_types import Ge, Le

from evaluators.api import Context, Outcome, Prompt, Sample, evaluator, metrics

AGAIN = Prompt.load("redraft_self_correction", "retry/again")


@evaluator(metrics=[*metrics.decomposition], information="oracle", controls=())
async def retry(
    ctx: Context, sample: Sample, *, attempts: Annotated[int, Ge(1), Le(64)] = 1
) -> Outcome:
    """Let the model try again as long as gold says that it is wrong, and tell it no more than that.

    The control of methods that gold gates: trying only wrong answers again lifts even guesses, so
    what such a method is worth is what it gains over this. All earlier attempts stay in view.
    Calls: at most 1 + attempts.

    Args:
        attempts: Most further attempts.
    """
    chat = [*sample.messages]
    answers = [await ctx.generate(chat)]
    for _ in range(attempts):
        if await ctx.oracle(answers[-1]):
            return Outcome(answers, stop_reason="the answer was right")
        chat += [answers[-1].message, AGAIN.message()]
        answers.append(await ctx.generate(chat))
    return Outcome(answers, stop_reason="all attempts made")
