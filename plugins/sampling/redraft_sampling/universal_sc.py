"""Universal self-consistency: the model itself picks the sample that agrees best with the rest."""

from evaluators.api import (
    Context,
    Outcome,
    Prompt,
    Sample,
    critique,
    evaluator,
    metrics,
    strategies,
)
from redraft_sampling.aggregation import candidates
from redraft_sampling.parameters import Samples, Temperature

SELECT = Prompt.load("redraft_sampling", "universal_sc/select")


@evaluator(
    metrics=[*metrics.decomposition],
    source="2311.17311",
    controls=("greedy", "sc_calls", "sc_tokens", "best_of_n"),
)
async def universal_sc(
    ctx: Context, sample: Sample, *, samples: Samples = 8, temperature: Temperature = 0.7
) -> Outcome:
    """Sample several answers and let the model pick the one most consistent with the others.

    After Chen et al. (arXiv 2311.17311): no answer is extracted for the choice, so that it works
    on free text. The responses are shown in an order drawn for the sample, which the transcript
    records; the choice is greedy. Where it names none of them, the first sample stands.
    Calls: samples + 1.

    Args:
        samples: How many answers to draw.
        temperature: Sampling temperature of every answer.
    """
    replies = await ctx.generate_many(sample.messages, samples, temperature=temperature)
    order = strategies.ranking.shuffled(ctx, samples)
    shown = candidates(sample, [replies[index] for index in order])
    choice = await ctx.generate([SELECT.message(**shown)], kind="select", round=1, parents=replies)
    labels = [f"response {number}" for number in range(1, samples + 1)]
    place = strategies.read_choice(critique.own_words(choice.text, *labels), samples)
    chosen = 0 if place is None else order[place]
    ctx.record(
        "select", replies[chosen].text, parents=[choice], round=1, permutation=order, chosen=chosen
    )
    return Outcome(
        [replies[0], replies[chosen]],
        facts={"chosen": chosen, "permutation": order, "choice_read": place is not None},
    )
