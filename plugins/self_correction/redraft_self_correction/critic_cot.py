"""Critic-CoT: a critique that labels every step, to refine an answer or to filter a vote."""

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from evaluators.api import (
    Context,
    Outcome,
    Prompt,
    Reply,
    Sample,
    critique,
    evaluator,
    metrics,
    strategies,
)

CRITIQUE = Prompt.load("redraft_self_correction", "critic_cot/critique")
REFINE = Prompt.load("redraft_self_correction", "critic_cot/refine")

_STEP = r"\bstep\s*(\d{1,4})(?:\W{0,6}is\b)?"


def read_labels(text: str, count: int) -> strategies.Reading:
    """Read `Step N: correct` and `Step N: wrong`, N from 1; the last label of a step counts.

    The first step called wrong is the mistake. Approval takes a label for every step. Where no
    step is labelled, a verdict on the whole solution counts.
    """
    labels = {int(said[1]): bool(said["yes"]) for said in critique.stated(text, mark=_STEP)}
    known = {n: right for n, right in labels.items() if 1 <= n <= count}
    if not known:
        whole = strategies.read_verdict(text)
        return strategies.Reading(whole, step=-1 if whole == "correct" else None)
    wrong = [n for n, right in known.items() if not right]
    if wrong:
        return strategies.Reading("wrong", step=critique.index_of(min(wrong)))
    if len(known) < count:
        return strategies.Reading(None)
    return strategies.Reading("correct", step=-1)


@evaluator(
    metrics=[*metrics.decomposition, *metrics.verification], roles=["critic"], source="2408.16326"
)
async def critic_cot(
    ctx: Context,
    sample: Sample,
    *,
    use: Literal["refine", "filter"] = "refine",
    rounds: Annotated[int, Ge(1), Le(8)] = 2,
    samples: Annotated[int, Ge(2), Le(64)] = 5,
    temperature: Annotated[float, Gt(0), Le(2)] = 0.7,
) -> Outcome:
    """Label every step of an answer right or wrong, and refine the answer or filter a vote by it.

    Critic-CoT (Zheng et al., arXiv 2408.16326), without its training. To refine: the answer is
    written anew from its first wrong step on, until every step is approved. To filter: several
    samples are criticised once each, and those with a wrong step have no vote; where none is left
    all vote. Then the answers are the first sample, the vote of all, and the vote of those left.
    A critique that labels some steps and calls none wrong is unreadable: it neither approves nor
    filters; one that labels none may pass a verdict on the whole.
    Calls: at most 1 + 2 * rounds to refine; 2 * samples to filter.

    Args:
        use: What the critiques are used for.
        rounds: Most refinements.
        samples: Answers drawn to filter.
        temperature: Sampling temperature of answers drawn to filter.
    """

    async def judge(answer: Reply, number: int, agent: str = "") -> strategies.Check:
        steps = critique.steps_of(sample, answer.message.content) or ("",)
        return await strategies.check_afresh(
            ctx,
            sample,
            answer,
            prompt=CRITIQUE,
            shown=critique.numbered_steps(steps),
            read=lambda text: read_labels(text, len(steps)),
            round=number,
            agent=agent,
        )

    if use == "refine":
        first = await ctx.generate(sample.messages)
        improve = strategies.refined_by(ctx, sample, REFINE)
        found = await strategies.until_approved(first, rounds=rounds, judge=judge, improve=improve)
        return found.outcome()

    async def chain(agent: str) -> strategies.Revisions:
        drawn = await ctx.generate(sample.messages, temperature=temperature, agent=agent)
        return strategies.Revisions((drawn,), (await judge(drawn, 1, agent),), "")

    return await filtered_vote(ctx, await strategies.run_chains(samples, chain))


async def filtered_vote(ctx: Context, chains: list[strategies.Revisions]) -> Outcome:
    """Let all answers vote, then those that no critique calls wrong."""
    kept = [chain for chain in chains if chain.verdicts[0].value != "wrong"]
    everyone, _ = await strategies.vote(ctx, [chain.last for chain in chains])
    left, _ = await strategies.vote(ctx, [chain.last for chain in kept or chains], round=1)
    facts = {
        "filtered": len(chains) - len(kept),
        "unread": sum(chain.verdicts[0].value is None for chain in chains),
    }
    return Outcome([chains[0].last, everyone, left], chains[0].verdicts, facts)
