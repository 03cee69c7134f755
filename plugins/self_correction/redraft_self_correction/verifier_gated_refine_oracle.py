"""Verifier-gated refinement with gold as the verifier: the most that a verifier could do."""

from evaluators.api import Context, Outcome, Sample, evaluator, metrics
from redraft_self_correction.doubted import refine


@evaluator(
    metrics=[*metrics.decomposition],
    information="oracle",
    source="2404.17140",
    controls=["greedy", "retry"],
)
async def verifier_gated_refine_oracle(ctx: Context, sample: Sample) -> Outcome:
    """Refine an answer only where gold says that it is wrong.

    The upper bound of `verifier_gated_refine` (Zhang et al., arXiv 2404.17140): a right answer
    cannot be lost, so it never ranks with methods that know no gold. The refiner hears no more
    than with other verifiers: that its answer is doubted. Calls: 1, or 3 where the answer is
    wrong.
    """
    first = await ctx.generate(sample.messages)
    if await ctx.oracle(first):
        return Outcome([first], stop_reason="gold approved")
    refined = await refine(ctx, [*sample.messages, first.message])
    return Outcome([first, refined], stop_reason="refined")
