"""Self-check: a vote whose winner is criticised where it was not certain."""

import math
from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge, Gt, Le

from evaluators.api import (
    Context,
    Outcome,
    Sample,
    Verdict,
    answer_key,
    evaluator,
    metrics,
    strategies,
)
from redraft_critique.judging import Wording, judge


@evaluator(
    metrics=[*metrics.decomposition, *metrics.self_check],
    roles=["critic"],
    source="2310.04815",
    controls=("greedy", "sc_calls", "sc_tokens", "best_of_n"),
)
async def self_check_vote(
    ctx: Context,
    sample: Sample,
    *,
    samples: Annotated[int, Ge(2), Le(64)] = 5,
    certainty: Annotated[float, Ge(0), Le(10)] = 1.0,
    temperature: Annotated[float, Gt(0), Le(2)] = 0.7,
    check_temperature: Annotated[float, Ge(0), Le(2)] = 0.6,
    prompt: Wording = "principles",
) -> Outcome:
    """Vote over samples, and drop answers that the model itself judges incorrect.

    The self-check of Luo et al. (arXiv 2310.04815). Certainty is ln(f1 / f2) of the two most
    frequent answers, 0 of a lone ballot: our reading of the thresholds, as the paper's formula
    could not be checked. A vote at least that certain stands. Else its answers are criticised, most
    frequent first, of equals the one seen first, until one is not judged incorrect; that the next
    answer is criticised too, whatever the certainty without the first, is our reading as well.
    Where none is left, the vote stands. A judgment that cannot be read counts as "correct", as
    theirs does. The first answer state is the vote, so that `error_reduction` and the decomposition
    say what the check adds to it. Calls: samples, and up to one more per different answer.

    Args:
        samples: Answers to draw.
        certainty: From which on the vote stands unchecked; the authors take 1, and 2 for GPT-4.
        temperature: Of the answers.
        check_temperature: Of the critiques.
        prompt: How the critic is asked.
    """
    replies = await ctx.generate_many(sample.messages, samples, temperature=temperature)
    winner, _ = await strategies.vote(ctx, replies)
    ranked = _ranked([await ctx.extract(reply) for reply in replies])
    sure = _certainty(ranked)
    facts = {"certainty": None if math.isinf(sure) else sure, "answers": len(ranked)}
    if sure >= certainty:
        return Outcome([winner, winner], (), facts, stop_reason="the vote was certain")
    verdicts = list[Verdict]()
    for place, indices in enumerate(ranked):
        candidate = replies[indices[0]]
        judged = await judge(
            ctx, sample, candidate, way="luo", wording=prompt, temperature=check_temperature
        )
        kept = judged.value != "wrong"
        if place == 0:
            votes, others = len(ranked[0]), len(ranked[1]) if len(ranked) > 1 else 0
            verdicts.append(judged.verdict(0, score=votes / (votes + others)))
        elif kept:
            verdicts.append(judged.verdict(1))
        if kept:
            ctx.record("select", candidate.text, parents=[candidate, judged.reply], round=1)
            return Outcome([winner, candidate], verdicts, facts, stop_reason="an answer was kept")
    return Outcome([winner, winner], verdicts, facts, stop_reason="no answer was left")


def _ranked(ballots: Sequence[str | None]) -> list[list[int]]:
    """Return the indices of equal answers, most frequent first, of equals the one seen first."""
    found: dict[object, list[int]] = {}
    for index, ballot in enumerate(ballots):
        if ballot is not None:
            found.setdefault(answer_key(ballot), []).append(index)
    return sorted(found.values(), key=len, reverse=True)


def _certainty(ranked: Sequence[Sequence[int]]) -> float:
    """Return ln(f1 / f2); infinite where all ballots agree, and 0 where there is one at most."""
    match [len(indices) for indices in ranked]:
        case [] | [1]:
            return 0.0
        case [_]:
            return math.inf
        case [first, second, *_]:
            return math.log(first / second)
    raise AssertionError
