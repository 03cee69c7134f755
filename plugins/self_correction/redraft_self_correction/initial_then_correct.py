"""Initial, then correct: an answer, and corrections that see the question and the latest answer."""

from typing import Annotated

from annotated_types import Ge, Le

from evaluators.api import Context, Outcome, Prompt, Sample, evaluator, metrics

CORRECT = Prompt.load("redraft_self_correction", "initial_then_correct/correct")


@evaluator(metrics=[*metrics.decomposition], source="2503.08681")
async def initial_then_correct(
    ctx: Context, sample: Sample, *, rounds: Annotated[int, Ge(1), Le(8)] = 1
) -> Outcome:
    """Answer, then correct the answer if it is incorrect, each time from the latest answer alone.

    The protocol with which STaSC (arXiv 2503.08681) trains and measures small models: a
    correction sees the question and one earlier answer, never the corrections before that. The
    paper corrects once at test time, and its rounds are rounds of training; more rounds here
    correct the correction. Calls: 1 + rounds.

    Args:
        rounds: How often to correct.
    """
    answers = [await ctx.generate(sample.messages)]
    for number in range(1, rounds + 1):
        chat = [*sample.messages, answers[-1].message, CORRECT.message()]
        answers.append(await ctx.generate(chat, round=number))
    return Outcome(answers)
