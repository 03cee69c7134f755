"""Votes over extracted answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from evaluators.answers import answer_key
from evaluators.context import Context
from evaluators.model import Reply


@dataclass(frozen=True, slots=True)
class Vote:
    """Who won a vote."""

    winner: int | None
    """Index of the first ballot for the winning answer; None when no ballot is valid."""
    votes: int
    """Ballots for the winning answer."""
    valid: int
    """Ballots that held an answer."""
    tied: bool
    """Another answer had as many; the one seen first won."""


def plurality(ballots: Sequence[str | None]) -> Vote:
    """Count a plurality vote over extracted answers (self-consistency, arXiv 2203.11171).

    Ballots without an answer do not count. Equal answers are equal by `same_answer`; among ties
    the answer seen first wins, so the result does not depend on anything but the order given.
    """
    keys = [None if ballot is None else answer_key(ballot) for ballot in ballots]
    counts: Counter[Decimal | str] = Counter(key for key in keys if key is not None)
    if not counts:
        return Vote(winner=None, votes=0, valid=0, tied=False)
    top = max(counts.values())
    leaders = [key for key, count in counts.items() if count == top]
    return Vote(keys.index(leaders[0]), top, counts.total(), tied=len(leaders) > 1)


async def vote(ctx: Context, replies: Sequence[Reply], *, round: int = 0) -> tuple[Reply, Vote]:  # noqa: A002 - the field's own term
    """Let replies vote with the answers that the task extracts, and write the vote down.

    Returns:
        The first reply with the winning answer, the first of all where no ballot is valid; and how
        the vote went. The reply is the answer state to return.
    """
    ballots = [await ctx.extract(reply) for reply in replies]
    found = plurality(ballots)
    chosen = replies[found.winner or 0]
    ctx.record(
        "vote", chosen.text, parents=replies, round=round, ballots=ballots, votes=found.votes
    )
    return chosen, found
