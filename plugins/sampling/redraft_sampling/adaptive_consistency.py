"""Adaptive consistency: draw answers until the vote is decided, and no further."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from annotated_types import Ge, Le

from evaluators.api import Context, Outcome, Reply, Sample, evaluator, metrics, strategies
from redraft_sampling.parameters import Samples, Temperature

Stopper = Literal["beta", "dirichlet", "entropy", "majority", "random", "window"]
Ballots = Sequence[str | None]
RANDOM = 0.1


@evaluator(
    metrics=[*metrics.decomposition],
    requires=(),
    source="2305.11860",
    controls=("greedy", "sc_calls", "sc_tokens", "best_of_n"),
)
async def adaptive_consistency(
    ctx: Context,
    sample: Sample,
    *,
    stopper: Stopper = "beta",
    threshold: Annotated[float, Ge(0), Le(1)] = 0.0,
    max_samples: Samples = 40,
    window: Annotated[int, Ge(2), Le(64)] = 5,
    temperature: Temperature = 0.7,
) -> Outcome:
    """Draw answers one by one until the leading one is unlikely to be overtaken, then vote.

    After Aggarwal et al. (arXiv 2305.11860), with the stopping rules of their code; and, as
    `window`, early-stopping self-consistency (Li et al., arXiv 2401.10480), which draws a window
    of answers at a time, stops when all of one agree, and takes that answer. What holds no
    answer counts for no rule and agrees with nothing. The Dirichlet rule is computed exactly
    instead of by drawing. The draws are self_consistency's, in its order. Calls: at most
    max_samples; the mean number of calls is what the method saves.

    Args:
        stopper: The chance that the leader stays ahead of the runner-up (`beta`) or is first of
            the five most frequent (`dirichlet`), the answers' entropy, the leader's share
            (`majority`), a coin thrown after each draw (`random`), or a window that agrees.
        threshold: Where the rule stops; 0 stands for the authors' value: 0.95 for beta and
            dirichlet, 0.75 for entropy, 0.8 for majority, 0.1 for random; none for windows.
        max_samples: Most answers to draw.
        window: How many answers make a window.
        temperature: Sampling temperature of every answer.
    """
    stops = _rule(ctx, stopper, threshold, window=window)
    size = window if stopper == "window" else 1
    replies, ballots, done = list[Reply](), list[str | None](), False
    while not done and len(replies) < max_samples:
        count = min(size, max_samples - len(replies))
        drawn = await ctx.generate_many(sample.messages, count, temperature=temperature)
        replies += drawn
        ballots += [await ctx.extract(reply) for reply in drawn]
        done = stops(ballots)
    decided = replies[-window:] if done and stopper == "window" else replies
    chosen, vote = await strategies.vote(ctx, decided)
    facts = {"samples": len(replies), "votes": vote.votes, "valid": vote.valid, "tied": vote.tied}
    reason = f"{stopper} rule" if done else "most samples drawn"
    return Outcome([replies[0], chosen], facts=facts, stop_reason=reason)


def _rule(
    ctx: Context, stopper: Stopper, threshold: float, *, window: int
) -> Callable[[Ballots], bool]:
    if stopper == "window":
        return lambda ballots: (
            len(ballots) % window == 0 and strategies.stopping.unanimous(ballots[-window:])
        )
    if stopper == "random":
        coin, chance = ctx.random("stop"), threshold or RANDOM
        return lambda _: coin.random() < chance
    bound = threshold or strategies.stopping.THRESHOLDS[stopper]
    return lambda ballots: strategies.stopping.settled(stopper, ballots, threshold=bound)
