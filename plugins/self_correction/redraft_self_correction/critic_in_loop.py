"""Critic in the loop: a critic reads every answer, and its doubts go back to the actor."""

from typing import Annotated

from annotated_types import Ge, Gt, Le

from evaluators.api import Context, Outcome, Prompt, Reply, Sample, evaluator, metrics, strategies

CRITIQUE = Prompt.load("redraft_self_correction", "critic_in_loop/critique")
REFINE = Prompt.load("redraft_self_correction", "critic_in_loop/refine")


@evaluator(
    metrics=[*metrics.decomposition, *metrics.verification], roles=["critic"], source="2411.16579"
)
async def critic_in_loop(
    ctx: Context,
    sample: Sample,
    *,
    rounds: Annotated[int, Ge(1), Le(8)] = 1,
    samples: Annotated[int, Ge(1), Le(32)] = 1,
    temperature: Annotated[float, Gt(0), Le(2)] = 0.7,
) -> Outcome:
    """Let a critic read every answer, and the actor answer again until the critic approves.

    After "Enhancing LLM Reasoning via Critique Models" (Xi et al., arXiv 2411.16579), without its
    training: the critic sees question and answer alone, never the conversation; the actor sees
    its latest answer and the critique of it. acc@1 is the actor without the critic, acc@last with
    it. Several samples run side by side and vote: then the answers are the first sample, the vote
    without the critic, and the vote with it. An unreadable verdict approves nothing.
    Calls: at most samples * (1 + 2 * rounds).

    Args:
        rounds: Most critiques of an answer and its revisions.
        samples: Answers drawn; with one there is no vote, and it is decoded as the task says.
        temperature: Sampling temperature of answers and revisions where there are several.
    """
    warmth = temperature if samples > 1 else None

    async def chain(agent: str) -> strategies.Revisions:
        async def judge(answer: Reply, number: int) -> strategies.Check:
            return await strategies.check_afresh(
                ctx, sample, answer, prompt=CRITIQUE, round=number, agent=agent
            )

        first = await ctx.generate(sample.messages, temperature=warmth, agent=agent)
        improve = strategies.refined_by(ctx, sample, REFINE, agent=agent, temperature=warmth)
        return await strategies.until_approved(first, rounds=rounds, judge=judge, improve=improve)

    if samples == 1:
        return (await chain("")).outcome()
    return await strategies.vote_over(ctx, await strategies.run_chains(samples, chain))
