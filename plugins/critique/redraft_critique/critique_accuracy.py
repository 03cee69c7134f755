"""Critique accuracy: is a solution correct, yes or no?"""

from typing import Annotated

from annotated_types import Ge, Le

from evaluators.api import Context, Outcome, Sample, critique, evaluator, metrics
from redraft_critique.judging import Way, Wording, judge


@evaluator(
    metrics=[*metrics.verification, *metrics.judging],
    roles=["critic"],
    source="2310.04815",
    controls=(),
)
async def critique_accuracy(
    ctx: Context,
    sample: Sample,
    *,
    own: bool = False,
    policy: Way = "luo",
    prompt: Wording = "principles",
    temperature: Annotated[float, Ge(0), Le(2)] = 0.6,
) -> Outcome:
    """Judge a given solution, or the model's own answer, as correct or not.

    Critique accuracy after Luo et al. (arXiv 2310.04815): principles, an analysis, `Judgment: X.`;
    accuracy over balanced solutions, chance 50 %. Their 8 runs at temperature 0.6 are 8 replicates
    here. Zero-shot, where the authors show five examples. A judgment that cannot be read counts as
    "correct" in `verdict_acc_lenient`, as theirs does, and as a mistake in `verdict_acc`. The way
    of CriticBench (arXiv 2402.14809) is `policy` thu or thu_cot at temperature 0; its figure is
    `verdict_F1_wrong`, beside `verdict_F1_guessed`. Calls: 1, or 2 for an answer of its
    own.

    Args:
        own: Judge the model's own answer even where the task gives a solution: self-critique.
        policy: How the verdict is put and read: `Judgment: X.` (luo), `[[X]]` (thu), JSON
            (thu_cot), or `Verdict: X` (redraft).
        prompt: How the critic is asked: by principles, or to look for problems, verify, review.
        temperature: Of the critique; the model's own answer follows the task.
    """
    solution = await critique.subject(ctx, sample, own=own)
    judged = await judge(ctx, sample, solution, way=policy, wording=prompt, temperature=temperature)
    return Outcome([solution], [judged.verdict()])
