"""The columns of a board: titles, definitions, where their values are and how they sort."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evaluators.metrics import cost, decomposition


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of every row."""

    key: str
    """Name in the query string and in exports."""
    title: str
    unit: str
    """Printed under the title."""
    metric: str = ""
    """Name in `evaluators.metrics`; empty for what is no estimate."""
    source: str = ""
    """Where the database keeps the value that sorting goes by."""
    better: str = ""
    """An arrow: which direction is better."""
    control: str = ""
    """The kind of control that the row is held against, where the figure is the difference."""

    @property
    def definition(self) -> str:
        """The formula in words."""
        return _DEFINITIONS[self.metric or self.key]


_DEFINITIONS = {
    **{metric.name: metric.definition for metric in (*decomposition, *cost)},
    "net_flips": "Answers fixed less answers spoilt, counted over all tasks: sum(n_ic - n_ci).",
    "over_greedy": "Acc@last less the accuracy of one greedy answer.",
    "over_sc_calls": "Acc@last less that of a plurality vote over as many sampled answers as the "
    "method made calls. What correction adds beyond spending as much on asking again.",
    "over_sc_tokens": "The same with as many answers as make up the method's generated tokens.",
    "over_best_of_n": "Acc@last less that of the best of as many sampled answers, by the model's "
    "own log-probability or rating.",
    "over_null_turn": "Acc@last less that after as many turns that say nothing of right or wrong.",
    "over_retry": "Acc@last less that of plain further tries behind the same gate: gold decides "
    "when to stop, and nothing is said of what was wrong.",
    "n": "Samples scored, of those asked for; the others are left out, never counted as wrong.",
}

FIGURES = (
    Column("acc_first", "Acc@1", "%", "acc@1", "acc_first", "↑"),
    Column("acc_last", "Acc@last", "%", "acc@last", "acc_last", "↑"),
    Column("delta", "Δ", "points", "delta", "delta", "↑"),
    Column("cl", "CL", "% of right", "CL", "cl", "↑"),
    Column("cs", "CS", "% of wrong", "CS", "cs", "↑"),
    Column("rss", "RSS", "½ = even", "RSS", "rss", "↑"),
    Column("net_flips", "Net flips", "answers", "", "net_flips", "↑"),
    Column(
        "extra_tokens",
        "Extra tokens",
        "per sample",
        "extra_tokens",
        "estimates__extra_tokens__value",
        "↓",
    ),
    Column("calls", "Calls", "per sample", "calls", "calls", "↓"),
    Column("n", "n", "scored", "", "n"),
)

BESIDE = (
    Column("over_greedy", "Over greedy", "points", better="↑", control="greedy"),
    Column("over_sc_calls", "Over vote", "points, same calls", better="↑", control="sc_calls"),
    Column("over_sc_tokens", "Over vote", "points, same tokens", better="↑", control="sc_tokens"),
    Column("over_best_of_n", "Over best of n", "points", better="↑", control="best_of_n"),
    Column("over_null_turn", "Over empty turn", "points", better="↑", control="null_turn"),
    Column("over_retry", "Over retry", "points, same gate", better="↑", control="retry"),
)
"""Gains over controls: Acc@last less that of another run of the same model on the same samples."""

PRIMARY = "acc_last"
"""What no choice of columns hides."""


def offered(*, oracle: bool) -> tuple[Column, ...]:
    """Return the columns of a board that can be chosen, in their order."""
    beside = [c for c in BESIDE if oracle or c.control != "retry"]
    return (*FIGURES[:2], *beside, *FIGURES[2:])


def usual(*, oracle: bool) -> tuple[Column, ...]:
    """Return the columns that show unless a reader chooses: one control, the fairest there is."""
    fairest = "retry" if oracle else "sc_calls"
    return tuple(c for c in offered(oracle=oracle) if c.control in {"", fairest})


SORTS: Mapping[str, str] = {
    "rank": "rank",
    "model": "model__label",
    "evaluator": "evaluator__name",
    **{column.key: column.source for column in (*FIGURES, *BESIDE)},
}
"""What a board can be sorted by; gains over controls are kept in a table of their own."""

FIRST_DESCENDING = frozenset(
    {"acc_first", "acc_last", "delta", "cl", "cs", "rss", "net_flips", "n"}
    | {column.key for column in BESIDE}
)
"""Columns whose first click shows the largest on top."""

GUARDED = {"cl": True, "cs": False}
"""Columns that rest on the answers right (True) or wrong (False) at first: maybe very few."""
