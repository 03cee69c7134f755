"""Self-agreement: one more call reads all samples and states the answer most of them agree on."""

from evaluators.api import Context, Outcome, Prompt, Sample, evaluator, metrics
from redraft_sampling.aggregation import merged
from redraft_sampling.parameters import Samples, Temperature

AGREE = Prompt.load("redraft_sampling", "self_agreement/agree")


@evaluator(
    metrics=[*metrics.decomposition],
    source="2311.08154",
    controls=("greedy", "sc_calls", "sc_tokens", "best_of_n"),
)
async def self_agreement(
    ctx: Context, sample: Sample, *, samples: Samples = 5, temperature: Temperature = 0.7
) -> Outcome:
    """Sample several answers and ask once more for the one that most of them agree on.

    After Lin et al. (arXiv 2311.08154): nothing is extracted from the samples, the model reads
    the reasoning paths and gives the answer itself, which is graded as it stands. The paths are
    shown in an order drawn for the sample, which the transcript records. Calls: samples + 1.

    Args:
        samples: How many answers to draw.
        temperature: Sampling temperature of the drawn answers.
    """
    replies = await ctx.generate_many(sample.messages, samples, temperature=temperature)
    return Outcome([replies[0], await merged(ctx, sample, replies, prompt=AGREE)])
