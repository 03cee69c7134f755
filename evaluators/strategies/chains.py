"""Several chains of revisions side by side, and votes over where they begin and end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence

from evaluators.context import Context
from evaluators.model import Json, Outcome
from evaluators.strategies.checking import Revisions
from evaluators.strategies.voting import vote


async def run_chains(
    count: int, chain: Callable[[str], Coroutine[object, object, Revisions]]
) -> list[Revisions]:
    """Run a chain of checks and revisions several times at once, each under an agent's name.

    A chain that stops early does not wait for the others. First calls are made in the chains'
    order, so that sampled ones are those of any method that samples as many.
    """
    async with asyncio.TaskGroup() as group:  # one refused call cancels its siblings
        tasks = [group.create_task(chain(f"chain {i}")) for i in range(1, count + 1)]
    return [task.result() for task in tasks]


async def vote_over(ctx: Context, chains: Sequence[Revisions]) -> Outcome:
    """Let the last answers of several chains vote.

    Returns:
        The first chain's first answer, the vote over all first answers and, where any chain went
        further, the vote over the last ones; of verdicts, the one on the answer returned first, as
        the others are about answers that are not returned. Facts count what the rest came to.
    """
    firsts = [chain.answers[0] for chain in chains]
    chosen, found = await vote(ctx, firsts)
    answers = [firsts[0], chosen]
    if any(chain.checks for chain in chains):
        last = max(len(chain.answers) for chain in chains)
        chosen, found = await vote(ctx, [chain.last for chain in chains], round=last)
        answers.append(chosen)
    verdicts = [verdict for chain in chains for verdict in chain.verdicts]
    facts: dict[str, Json] = {
        "votes": found.votes,
        "valid": found.valid,
        "tied": found.tied,
        "approved": sum(chain.approved for chain in chains),
        "verdicts": len(verdicts),
        "unread": sum(verdict.value is None for verdict in verdicts),
        "revisions": [len(chain.answers) - 1 for chain in chains],
    }
    return Outcome(answers, chains[0].verdicts[:1], facts)
