"""SETS: sample several answers, let each verify and correct itself, and vote."""

from typing import Annotated

from annotated_types import Ge, Gt, Le

from evaluators.api import Context, Outcome, Prompt, Sample, evaluator, metrics, strategies

VERIFY = Prompt.load("redraft_self_correction", "sets/verify")
CORRECT = Prompt.load("redraft_self_correction", "sets/correct")


@evaluator(metrics=[*metrics.decomposition, *metrics.verification], source="2501.19306")
async def sets(
    ctx: Context,
    sample: Sample,
    *,
    samples: Annotated[int, Ge(1), Le(32)] = 3,
    rounds: Annotated[int, Ge(0), Le(8)] = 2,
    temperature: Annotated[float, Gt(0), Le(2)] = 0.7,
) -> Outcome:
    """Draw several answers, have each verified and corrected on its own, and take a vote.

    SETS (Chen et al., arXiv 2501.19306): every sample runs rounds of verification and correction
    until its verdict approves, then the final answers vote. Without rounds it is
    self-consistency, with one sample iterated self-correction. The answers are the first sample,
    the vote of all first samples, and the vote of the corrected ones; the verdict reported is the
    first sample's first, the others are counted in the facts. A verdict that cannot be read
    approves nothing. Calls: at most samples * (1 + 2 * rounds).

    Args:
        samples: Answers drawn.
        rounds: Most corrections of each; 0 is a plain vote.
        temperature: Sampling temperature of answers, verifications and corrections.
    """

    async def chain(agent: str) -> strategies.Revisions:
        first = await ctx.generate(sample.messages, temperature=temperature, agent=agent)
        return await strategies.revise_in_chat(
            ctx,
            sample.messages,
            first,
            rounds=rounds,
            verify=VERIFY,
            revise=CORRECT,
            agent=agent,
            temperature=temperature,
        )

    chains = await strategies.run_chains(samples, chain)
    if samples == 1:
        return chains[0].outcome()
    return await strategies.vote_over(ctx, chains)
