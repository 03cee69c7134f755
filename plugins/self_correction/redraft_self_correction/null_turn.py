"""Null turn: ask for the answer again without saying anything."""

from typing import Annotated

from annotated_types import Ge, Le

from evaluators.api import Context, Outcome, Prompt, Sample, evaluator, metrics

AGAIN = Prompt.load("redraft_self_correction", "null_turn/again")


@evaluator(metrics=[*metrics.decomposition], controls=())
async def null_turn(
    ctx: Context, sample: Sample, *, rounds: Annotated[int, Ge(1), Le(64)] = 1
) -> Outcome:
    """Ask for the final answer once more, with no word about the first one.

    A control: the turn consists of the words with which every other method ends its last turn, so
    what a method does beyond it is due to what it says and not to there being another turn.
    Calls: 1 + rounds.

    Args:
        rounds: How many times to ask again.
    """
    chat = [*sample.messages]
    answers = [await ctx.generate(chat)]
    for _ in range(rounds):
        chat += [answers[-1].message, AGAIN.message()]
        answers.append(await ctx.generate(chat))
    return Outcome(answers)
