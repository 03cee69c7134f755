"""What stands beside a row: its controls, with the paired difference or why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from django.db.models import QuerySet

from evaluators.controls.planning import SIZE
from evaluators.metrics import Estimate, holm, null
from leaderboard.boards.figures import DASH, FEW, figure, number, short_reason, tested
from leaderboard.boards.models import Against, Entry
from leaderboard.boards.params import changed_params
from leaderboard.core.rendering import Figure
from leaderboard.runs.models import Run, RunControl, State
from leaderboard.runs.presentation import DELETED

LONGEST = 60
"""Characters of a reason that a cell shows."""


@dataclass(frozen=True, slots=True)
class Beside:
    """One control of a row."""

    held: RunControl
    against: Against | None
    """None until both runs are on the board, and while the control may not be read."""
    p_holm: float | None = None
    """Of the difference, corrected for how many runs the row is held against."""

    @property
    def control(self) -> Run | None:
        """The control's run, where a reader may look at it."""
        found = self.held.control
        return found if found is not None and found.published else None

    @property
    def difference(self) -> Estimate:
        """Acc@last of the row less that of its control; null with its reason."""
        if self.against is not None:
            stored = self.against.estimates.get("difference")
            return Estimate.from_json(stored) if stored else null("no task can be compared")
        return null(_why_not(self.held))

    @property
    def p(self) -> float | None:
        """How likely chance alone makes such a difference; None where there is no test."""
        sides = self.against.estimates if self.against is not None else {}
        found: float | None = sides.get("significance", {}).get("p")
        return found

    @property
    def accuracy(self) -> Estimate:
        """Last accuracy of the control, on the samples that were scored in both."""
        return self.of_control("acc")

    def of_control(self, name: str) -> Estimate:
        """Return a figure of the control: `acc`, `calls`, `tokens_out` or `tokens_computed`."""
        sides = self.against.estimates if self.against is not None else {}
        stored = sides.get("control", {}).get(name)
        return Estimate.from_json(stored) if stored else null(_why_not(self.held))

    @property
    def costs(self) -> list[str]:
        """What method and control spent per sample, so that readers see how equal it is."""
        if self.against is None:
            return []
        sides = (
            self.against.estimates.get("method", {}),
            self.against.estimates.get("control", {}),
        )
        told = []
        for name, words in (("calls", "calls"), ("tokens_out", "tokens")):
            ours, theirs = (side.get(name, {}).get("value") for side in sides)
            if ours is not None and theirs is not None:
                told.append(f"{number(ours, 'mean')} {words} against {number(theirs, 'mean')}")
        return told

    @property
    def label(self) -> str:
        """What the control is, such as `self_consistency@5`: its size and what is not usual."""
        control = self.held.control
        if control is None:
            return ""
        name, size = control.evaluator.name, SIZE.get(control.evaluator.name, "")
        at = f"@{control.params[size]}" if size in control.params else ""
        others = changed_params(control, control.evaluator, but=(size,))
        return f"{name}{at} {others}".strip()


def beside_of(entries: Iterable[Entry]) -> dict[int, dict[str, Beside]]:
    """Return the controls of rows by row and kind, in two queries."""
    by_run = {entry.run_id: entry.pk for entry in entries}
    known = Against.objects.filter(entry__in=by_run.values()).defer("tasks")
    compared = {(row.entry_id, row.kind): row for row in known}
    found: dict[int, dict[str, Beside]] = {pk: {} for pk in by_run.values()}
    for held in RunControl.objects.filter(run__in=by_run).select_related("control__evaluator"):
        pk = by_run[held.run_id]
        public = held.control is not None and held.control.published
        found[pk][held.kind] = Beside(held, compared.get((pk, held.kind)) if public else None)
    return {pk: _corrected(beside) for pk, beside in found.items()}


def _corrected(beside: Mapping[str, Beside]) -> dict[str, Beside]:
    """Correct a row's p-values by Holm; a run that is two controls counts once."""
    ps = {b.held.control_id: b.p for b in beside.values() if b.p is not None}
    adjusted = dict(zip(ps, holm(list(ps.values())), strict=True))
    return {
        kind: replace(b, p_holm=adjusted[b.held.control_id] if b.p is not None else None)
        for kind, b in beside.items()
    }


def gain_figure(entry: Entry, kind: str, beside: Mapping[str, Beside]) -> Figure:
    """Return the figure of a row's gain over one of its controls."""
    found = beside.get(kind)
    if found is None:
        return Figure(DASH, note=_why_none(entry, kind), tone="none")
    return difference_figure(found)


def difference_figure(found: Beside) -> Figure:
    """Return the figure of a difference from a control: grey where it may as well be none."""
    difference = found.difference
    if difference.value is None:
        return _dash(difference.reason, found.label)
    control = number(found.accuracy.value, "share")
    shown = tested(figure(difference, "delta"), difference, found.p_holm)
    few = difference.n < FEW
    return replace(
        shown,
        against=f"against {control}",
        detail="; ".join((found.label, *found.costs)),
        note=f"fewer than {FEW}" if few else shown.note,
        tone="weak" if few else shown.tone,
    )


def gains(entries: QuerySet[Entry], kind: str) -> dict[int, tuple[float | None, int]]:
    """Return the gain over a kind of control and what it rests on, by row."""
    known = Against.objects.filter(entry__in=entries.order_by().values("pk"), kind=kind)
    return {pk: (gain, n) for pk, gain, n in known.values_list("entry_id", "gain", "n")}


def _dash(reason: str, label: str) -> Figure:
    short = short_reason(reason)
    note = short if len(short) <= LONGEST else f"{short[: LONGEST - 1]}…"
    detail = "; ".join(part for part in (label, reason if note != reason else "") if part)
    return Figure(DASH, note=note, tone="none", detail=detail)


def _why_not(held: RunControl) -> str:
    """Say why a control has no figures."""
    control = held.control
    if control is None:
        return held.reason or DELETED
    if not control.published:
        return "the control is not public"
    if control.state != State.COMPLETED:
        return f"control {State(control.state).label.lower()}"
    return "being compared"


def _why_none(entry: Entry, kind: str) -> str:
    """Say why a row has no control of a kind at all."""
    run = entry.run
    if run.control_only or not entry.evaluator.controls:
        return "a control itself" if run.control_only else "has no controls"
    if kind not in entry.evaluator.controls:
        return "no control of this method"
    if run.with_controls and run.controls_made_at is None:
        return "being planned"
    return "imported" if run.imported else "not asked for"
