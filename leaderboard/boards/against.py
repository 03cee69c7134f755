"""Board rows held against their controls: paired differences, computed once both are there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef

from evaluators.controls import ControlComparison, PlannedControl, compare_control
from evaluators.metrics import Estimate, Significance, interval_p
from evaluators.metrics.decompose import macro_of
from leaderboard.boards.compare import shared_tasks
from leaderboard.boards.models import Against, Entry
from leaderboard.runs.models import RunControl

SIDES = ("method", "control")


def hold_against() -> int:
    """Hold rows against the controls that have come in; return how many comparisons were made."""
    known = Against.objects.filter(
        entry__run=OuterRef("run"), kind=OuterRef("kind"), control__run=OuterRef("control")
    )
    both = RunControl.objects.filter(run__entry__isnull=False, control__entry__isnull=False)
    missing = both.filter(~Exists(known)).select_related(
        "run__entry", "control__entry", "control__evaluator"
    )
    return sum(_hold(held) for held in missing.order_by("pk"))


def _hold(held: RunControl) -> bool:
    entry, control = held.run.entry, _entry_of(held)
    fields = {"control": control, **_compared(held)}
    with transaction.atomic():
        # One at a time per row: two sweepers may have found the same.
        Entry.objects.select_for_update(no_key=True).get(pk=entry.pk)
        known = Against.objects.filter(entry=entry, kind=held.kind)
        if known.filter(control=control).exists():
            return False
        known.delete()
        Against.objects.create(entry=entry, kind=held.kind, **fields)
    return True


def _entry_of(held: RunControl) -> Entry:
    assert held.control is not None  # noqa: S101 - narrows a type: only such rows are read
    return held.control.entry


def _compared(held: RunControl) -> dict[str, Any]:
    """Return the fields of a comparison: by task, and the means over them."""
    found = dict(_by_task(held))
    tasks = {task: comparison.to_json() for task, comparison in found.items()}
    difference = macro_of({task: {"difference": c.difference} for task, c in found.items()})
    estimates: dict[str, Any] = {name: e.to_json() for name, e in difference.items()}
    for side in SIDES:
        means = macro_of({task: _side(comparison, side) for task, comparison in found.items()})
        estimates[side] = {name: estimate.to_json() for name, estimate in means.items()}
    if difference:
        estimates["significance"] = significance_of(found, difference["difference"]).to_json()
    return {
        "estimates": estimates,
        "tasks": tasks,
        "gain": difference["difference"].value if difference else None,
        "n": sum(comparison.paired.n for comparison in found.values()),
    }


def significance_of(found: Mapping[str, ControlComparison], mean: Estimate) -> Significance:
    """Return the exact test of a single task; of several, what the mean's interval says."""
    if len(found) == 1:
        return next(iter(found.values())).significance
    p = interval_p(mean)
    return Significance(p, "none" if p is None else "interval of the mean")


def _by_task(held: RunControl) -> Iterator[tuple[str, ControlComparison]]:
    """Compare the tasks that both runs have; one that is not the same in both is left out."""
    control = held.control
    assert control is not None  # noqa: S101 - as above
    planned = PlannedControl(
        held.kind,  # type: ignore[arg-type] # stored from this very literal
        control.evaluator.name,
        dict(control.params),
        note=held.note,
    )
    for shared in shared_tasks(control, held.run):
        if not shared.problem:
            yield shared.task, compare_control(planned, shared.right, shared.left)


def _side(comparison: ControlComparison, side: str) -> Mapping[str, Any]:
    return comparison.paired.right if side == "method" else comparison.paired.left
