"""Methods beside methods: all that was done with one model on one suite, a row for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from evaluators.metrics import Estimate, get, null
from leaderboard.boards.beside import Beside, difference_figure, gain_figure
from leaderboard.boards.figures import figure
from leaderboard.boards.models import Entry
from leaderboard.boards.params import changed_params
from leaderboard.boards.rows import estimate_of
from leaderboard.catalog.models import Suite
from leaderboard.core.rendering import Figure
from leaderboard.runs.models import CONTROL_TITLES

SHOWN = (
    ("acc@1", "Acc@1", "%"),
    ("acc@last", "Acc@last", "%"),
    ("delta", "Δ", "points"),
    ("CL", "CL", "% of right"),
    ("CS", "CS", "% of wrong"),
    ("RSS", "RSS", "½ = even"),
    ("calls", "Calls", "per sample"),
    ("tokens_out", "Tokens", "per sample"),
    ("tokens_computed", "Computed", "tokens per sample"),
)
"""Figures of every method: metric, title, unit."""

MOST_ROWS = 40
"""Rows of a suite beyond which mere controls are left out, unless they are asked for."""

VERDICTS = (
    "verdict_acc", "error_recall", "correct_precision", "verdict_TPR", "verdict_TNR",
    "verdict_F1_wrong", "location_acc", "location_acc_mistake", "location_acc_sound",
    "verdict_AUROC", "verdict_unparsed",
)  # fmt: skip
"""Figures of methods that say which answers are right."""


@dataclass(frozen=True, slots=True)
class Gain:
    """What a method gains over one of its controls."""

    kind: str
    estimate: Estimate
    figure: Figure
    control: str
    """Public id of the control's run, where there is one to compare with."""
    label: str
    """What the control is."""
    costs: list[str]
    """What both spent, in words."""
    p: float | None = None
    p_holm: float | None = None
    """Corrected for how many runs the method is held against."""


@dataclass(frozen=True, slots=True)
class MethodRow:
    """One method with its parameters."""

    entry: Entry
    params: str
    figures: list[Figure]
    gains: list[Gain]
    verdicts: list[Figure]


@dataclass(frozen=True, slots=True)
class SuiteTable:
    """All methods of a model on one suite."""

    suite: Suite
    rows: list[MethodRow]
    kinds: list[tuple[str, str]]
    """Kinds of controls that some method has, with their titles."""
    verdicts: list[tuple[str, str]]
    """Figures of verdicts that some method has: title and definition."""
    left_out: int = 0
    """Mere controls that have no row here, because there are so many."""

    @property
    def held(self) -> list[MethodRow]:
        """The methods that are held against something."""
        return [row for row in self.rows if any(gain.label for gain in row.gains)]

    @property
    def judging(self) -> list[MethodRow]:
        """The methods that give verdicts."""
        return [row for row in self.rows if any(f.tone != "none" for f in row.verdicts)]


def suite_tables(
    entries: Sequence[Entry], beside: Mapping[int, Mapping[str, Beside]], *, whole: bool
) -> Iterator[SuiteTable]:
    """Yield the methods of a model suite by suite, the most accurate first.

    Args:
        entries: Rows of one model, with their runs.
        beside: Their controls, by row and kind.
        whole: Mere controls have rows however many there are.
    """
    by_suite: dict[int, list[Entry]] = {}
    for entry in entries:
        by_suite.setdefault(entry.suite_id, []).append(entry)
    for found in by_suite.values():
        own = [entry for entry in found if not entry.run.control_only]
        kept = found if whole or len(found) <= MOST_ROWS else own or found
        yield replace(_table(kept, beside), left_out=len(found) - len(kept))


def _table(entries: Sequence[Entry], beside: Mapping[int, Mapping[str, Beside]]) -> SuiteTable:
    present = {kind for entry in entries for kind in beside.get(entry.pk, {})}
    kinds = [(kind, title) for kind, title in CONTROL_TITLES.items() if kind in present]
    judged = [name for name in VERDICTS if any(_has(entry, name) for entry in entries)]
    ordered = sorted(entries, key=lambda e: (e.oracle, -(e.acc_last or 0), e.pk))
    return SuiteTable(
        suite=entries[0].suite,
        rows=[
            MethodRow(
                entry=entry,
                params=changed_params(entry.run, entry.evaluator),
                figures=[figure(estimate_of(entry, name), name) for name, _, _ in SHOWN],
                gains=[_gain(entry, kind, beside.get(entry.pk, {})) for kind, _ in kinds],
                verdicts=[figure(estimate_of(entry, name), name) for name in judged],
            )
            for entry in ordered
        ],
        kinds=kinds,
        verdicts=[(get(name).title, get(name).definition) for name in judged],
    )


def _has(entry: Entry, name: str) -> bool:
    return (entry.estimates.get(name) or {}).get("value") is not None


def _gain(entry: Entry, kind: str, beside: Mapping[str, Beside]) -> Gain:
    found = beside.get(kind)
    if found is None:
        shown = gain_figure(entry, kind, beside)
        return Gain(kind, null(shown.note), shown, "", "", [])
    control = found.control if found.against is not None else None
    return Gain(
        kind,
        found.difference,
        difference_figure(found),
        control.public_id if control is not None else "",
        found.label,
        found.costs,
        found.p,
        found.p_holm,
    )
