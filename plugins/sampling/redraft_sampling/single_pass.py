"""Single pass: one call, one answer; what every other method is measured against."""

from typing import Annotated

from annotated_types import Ge, Le

from evaluators.api import Context, Outcome, Sample, evaluator, metrics


@evaluator(metrics=[*metrics.decomposition], requires=(), controls=())
async def single_pass(
    ctx: Context, sample: Sample, *, temperature: Annotated[float, Ge(0), Le(2)] | None = None
) -> Outcome:
    """Ask once and take the answer as it comes.

    Sample by sample the score that lm-eval gives. At temperature 0, where most tasks are anyway,
    this is the greedy control. Calls: 1.

    Args:
        temperature: Of the answer; by default the task's own.
    """
    return Outcome([await ctx.generate(sample.messages, temperature=temperature)])
