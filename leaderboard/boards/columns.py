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

    @property
    def definition(self) -> str:
        """The formula in words."""
        return _DEFINITIONS[self.metric or self.key]


_DEFINITIONS = {
    **{metric.name: metric.definition for metric in (*decomposition, *cost)},
    "net_flips": "Answers fixed less answers spoilt, counted over all tasks: sum(n_ic - n_ci).",
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

SORTS: Mapping[str, str] = {
    "rank": "rank",
    "model": "model__label",
    "evaluator": "evaluator__name",
    **{column.key: column.source for column in FIGURES},
}
"""What a board can be sorted by."""

FIRST_DESCENDING = frozenset(
    {"acc_first", "acc_last", "delta", "cl", "cs", "rss", "net_flips", "n"}
)
"""Columns whose first click shows the largest on top."""

GUARDED = {"cl": True, "cs": False}
"""Columns that rest on the answers right (True) or wrong (False) at first: maybe very few."""
