"""Fine-grained self-consistency: outliers left out, the rest merged into one new response."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from annotated_types import Ge, Le

from evaluators.api import Context, Outcome, Prompt, Sample, evaluator, metrics, strategies
from redraft_sampling.aggregation import merged
from redraft_sampling.parameters import Samples, Temperature

MERGE = Prompt.load("redraft_sampling", "fine_grained_sc/merge")


def _ucs(texts: Sequence[str]) -> list[float]:
    return strategies.similarity.consistency([*map(strategies.similarity.presence, texts)])


SCORES: dict[str, Callable[[Sequence[str]], list[float]]] = {
    "ucs": _ucs,
    "corpus_count": strategies.similarity.corpus_counts,
    "none": lambda texts: [0.0] * len(texts),
}


@evaluator(
    metrics=[*metrics.decomposition],
    source="2407.02056",
    controls=("greedy", "sc_calls", "sc_tokens", "best_of_n"),
)
async def fine_grained_sc(
    ctx: Context,
    sample: Sample,
    *,
    samples: Samples = 5,
    keep: Annotated[int, Ge(2), Le(64)] = 3,
    outliers: Literal["ucs", "corpus_count", "none"] = "ucs",
    temperature: Temperature = 0.7,
) -> Outcome:
    """Sample several answers, leave out the least similar, and merge the rest into a new one.

    After Wang et al. (arXiv 2407.02056): the model writes one response from what its samples
    have in common; it is new text and graded as such. Of the two ways to shorten what it reads,
    filtering is here, merging of near-equal samples by clusters is not. Calls: samples + 1.

    Args:
        samples: How many answers to draw.
        keep: How many of them to merge, the most similar to all others; ties keep the earlier.
        outliers: How similarity is scored: by shared words in pairs (`ucs`), by how often a text's
            words stand in all texts together, which the authors' code calls UCS (`corpus_count`),
            or not at all: then all samples are merged.
        temperature: Sampling temperature of the drawn answers.
    """
    replies = await ctx.generate_many(sample.messages, samples, temperature=temperature)
    most = samples if outliers == "none" else min(keep, samples)
    scores = SCORES[outliers]([reply.text for reply in replies])
    best = sorted(range(samples), key=lambda index: -scores[index])[:most]
    kept = [replies[index] for index in sorted(best)]
    answer = await merged(ctx, sample, kept, prompt=MERGE, dropped=samples - most)
    return Outcome([replies[0], answer], facts={"similarity": scores, "kept": sorted(best)})
