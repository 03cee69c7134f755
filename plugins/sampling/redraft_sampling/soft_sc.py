"""Soft self-consistency: the sample whose answer the model wrote with most confidence."""

from typing import Annotated, Literal

from annotated_types import Ge, Le

from evaluators.api import Context, Outcome, Reply, Sample, evaluator, metrics, strategies
from redraft_sampling.parameters import Samples, Temperature


@evaluator(
    metrics=[*metrics.decomposition],
    requires=["token_logprobs"],
    source="2402.13212",
    controls=("greedy", "sc_calls", "sc_tokens", "best_of_n"),
)
async def soft_sc(
    ctx: Context,
    sample: Sample,
    *,
    samples: Samples = 5,
    score: strategies.ranking.TokenScore = "mean",
    over: Literal["answer", "reply"] = "answer",
    enough: Annotated[float, Ge(0), Le(64)] = 0.0,
    temperature: Temperature = 0.7,
) -> Outcome:
    """Sample several answers and take the one whose tokens were likeliest; nobody votes.

    After Wang et al. (arXiv 2402.13212), who score an agent's action: here the tokens that wrote
    the extracted answer, or the whole reply where the answer does not stand in it word for word.
    With `enough`, the adaptive form: answers are drawn one by one until their scores add up to
    it. Samples without an answer add nothing, and only win where none has one. Calls: samples, at
    most.

    Args:
        samples: How many answers to draw, at most.
        score: Mean or least probability of the tokens, or their product's geometric mean.
        over: Which tokens count: the extracted answer's or the whole reply's.
        enough: Sum of scores at which to stop drawing; 0 draws all.
        temperature: Sampling temperature of every answer.
    """
    options = {"temperature": temperature, "logprobs": 0}
    replies, scores, sure = list[Reply](), list[float | None](), 0.0
    while len(replies) < samples and (not replies or sure < enough):
        count = 1 if enough else samples
        drawn = await ctx.generate_many(sample.messages, count, **options)
        for reply in drawn:
            answer = await ctx.extract(reply)
            part = answer if over == "answer" else None
            tokens = strategies.ranking.tokens_of(reply.logprobs, part)
            scores.append(strategies.ranking.token_score(tokens, score))
            sure += 0.0 if answer is None else scores[-1] or 0.0
        replies += drawn
    chosen, choice = await strategies.ranking.choose(ctx, replies, scores)
    reason = "scores add up to enough" if enough and sure >= enough else ""
    return Outcome([replies[0], chosen], facts=choice.facts, stop_reason=reason)
