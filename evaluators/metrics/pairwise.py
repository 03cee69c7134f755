"""How good a judge of pairs is: agreement with gold, votes over both orders, position bias."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluators.metrics.estimate import Estimate, null
from evaluators.metrics.estimators import bounded_mean, proportion
from evaluators.metrics.trajectory import codes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TIE = "tie"
"""Chosen, or gold, where neither response is better."""

NO_PAIR = "no pair was judged"
ONE_ORDER = "no pair was judged in both orders"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a judge chose, of two responses shown in this order."""

    pair: str
    """The same for both orders of a pair."""
    first: str
    """Name of the response shown first."""
    second: str
    chosen: str | None
    """`first`'s or `second`'s name, TIE, or None where nothing could be read."""
    gold: str
    """The better one's name, or TIE."""


def judge_pairs(decisions: Sequence[Decision]) -> dict[str, Estimate]:
    """Compute every figure over decisions; orders of one pair belong together.

    `pair_acc`, each order by itself; `pair_vote_acc`, the sum over both orders of +1 for gold and
    -1 for the other (JudgeBench); `pair_strict_acc`, right in both orders (CriticEval); `pair_win`,
    1, 0, or 1/2 where undecided (RewardBench); `pair_inconsistent`, another choice when the order
    is swapped; `pair_first`, the share of choices that fell on what was shown first.
    """
    if not decisions:
        return dict.fromkeys(NAMES, null(NO_PAIR))
    by_pair: dict[str, list[Decision]] = defaultdict(list)
    for decision in decisions:
        by_pair[decision.pair].append(decision)
    pairs = list(by_pair.values())
    swapped = [pair for pair in pairs if len(pair) == 2]
    undecided = {None, TIE}
    decided = [d for d in decisions if d.chosen not in undecided]
    return {
        "pair_acc": _alone([d.chosen == d.gold for d in decisions], decisions, NO_PAIR),
        "pair_vote_acc": _of_pairs(
            [sum(map(_vote, pair)) > 0 for pair in pairs], NO_PAIR, n_total=len(pairs)
        ),
        "pair_strict_acc": _of_pairs(
            [all(map(_right, pair)) for pair in swapped], ONE_ORDER, n_total=len(pairs)
        ),
        "pair_win": _mean_win(decisions),
        "pair_inconsistent": _of_pairs(
            [len({d.chosen for d in p}) > 1 for p in swapped], ONE_ORDER, n_total=len(pairs)
        ),
        "pair_first": _alone(
            [d.chosen == d.first for d in decided],
            decided,
            "no pair was decided",
            n_total=len(decisions),
        ),
        "pair_tie": _alone([d.chosen == TIE for d in decisions], decisions, NO_PAIR),
        "pair_unparsed": _alone([d.chosen is None for d in decisions], decisions, NO_PAIR),
    }


NAMES = (
    "pair_acc", "pair_vote_acc", "pair_strict_acc", "pair_win", "pair_inconsistent", "pair_first",
    "pair_tie", "pair_unparsed",
)  # fmt: skip


def _vote(decision: Decision) -> int:
    """Count a decision for or against gold; what is undecided counts as neither."""
    if decision.chosen is None or (decision.chosen == TIE and decision.gold != TIE):
        return 0
    return 1 if decision.chosen == decision.gold else -1


def _right(decision: Decision) -> bool:
    """Tell whether the better response was named; of a gold tie there is none."""
    return decision.chosen == decision.gold != TIE


def _of_pairs(hits: Sequence[bool], empty: str, *, n_total: int) -> Estimate:
    return _proportion(hits, range(len(hits)), empty, n_total=n_total)


def _alone(
    hits: Sequence[bool], of: Sequence[Decision], empty: str, *, n_total: int | None = None
) -> Estimate:
    return _proportion(hits, [d.pair for d in of], empty, n_total=n_total or len(of))


def _proportion(
    hits: Sequence[bool], clusters: Sequence[object] | range, empty: str, *, n_total: int
) -> Estimate:
    import numpy as np

    found: NDArray[np.bool_] = np.array(hits, dtype=bool)
    if not len(found):
        return null(empty, n_total=n_total, denominator=0)
    return proportion(found, found | True, codes(clusters), n_total=n_total, empty=empty)


def _mean_win(decisions: Sequence[Decision]) -> Estimate:
    import numpy as np

    wins = np.array([(1 + _vote(d)) / 2 for d in decisions], dtype=float)
    groups = codes(d.pair for d in decisions)
    return bounded_mean(wins, wins >= 0, groups, n_total=len(wins), missing=NO_PAIR)
