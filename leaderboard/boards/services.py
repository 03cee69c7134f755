"""Keeps board rows in step with completed runs, by reading run events with a cursor."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta

from django.db import transaction
from django.db.models import Max

from evaluators.errors import InputError
from evaluators.formats.stored import trajectory_of
from evaluators.metrics import Decomposition, Metric, Trajectory, decompose, macro
from evaluators.registry import load_evaluator
from leaderboard.boards.models import Entry, EventCursor, TaskEntry
from leaderboard.runs.models import Event, Run, State
from leaderboard.runs.services import read_results
from leaderboard.runs.services.clock import ClockTimestamp

log = logging.getLogger(__name__)

CURSOR = "boards"

SETTLED = timedelta(minutes=5)
"""How far the cursor stays behind: an event's number is drawn before its transaction commits, so a
lower number may appear after a higher one. What is read twice changes nothing."""


def refresh() -> int:
    """Make the board rows that are missing; return how many there were."""
    cursor, _ = EventCursor.objects.get_or_create(name=CURSOR)
    events = Event.objects.filter(pk__gt=cursor.last_event)
    settled = events.filter(at__lt=ClockTimestamp() - SETTLED).aggregate(last=Max("pk"))["last"]
    completed = events.filter(shard=None, to_state=State.COMPLETED).values("run")
    missing = Run.objects.filter(pk__in=completed, state=State.COMPLETED, entry=None)
    made = sum(enter(run) is not None for run in missing.order_by("pk"))
    if settled:
        EventCursor.objects.filter(name=CURSOR, last_event__lt=settled).update(last_event=settled)
    return made


def enter(run: Run) -> Entry | None:
    """Compute a completed run's board row from its stored results; None if it has one already."""
    by_task = decompose_run(run)
    estimates = macro(by_task)
    values = {name: estimate.value for name, estimate in estimates.items()}
    with transaction.atomic():
        entry, made = Entry.objects.get_or_create(
            run=run,
            defaults={
                "model_id": run.model_id,
                "evaluator_id": run.evaluator_id,
                "suite_id": run.suite_id,
                "oracle": run.oracle,
                "estimates": {name: estimate.to_json() for name, estimate in estimates.items()},
                "acc_first": values.get("acc@1"),
                "acc_last": values.get("acc@last"),
                "delta": values.get("delta"),
                "cl": values.get("CL"),
                "cs": values.get("CS"),
                "rss": values.get("RSS"),
                "net_flips": _net_flips(by_task.values()),
                "calls": values.get("calls"),
                "tokens_out": values.get("tokens_out"),
                "n": sum(found.n for found in by_task.values()),
                "n_total": sum(found.n_total for found in by_task.values()),
            },
        )
        if not made:
            return None
        TaskEntry.objects.bulk_create(
            TaskEntry(
                entry=entry,
                task=task,
                decomposition=found.to_json(),
                n=found.n,
                n_total=found.n_total,
            )
            for task, found in by_task.items()
        )
    return entry


def decompose_run(run: Run) -> dict[str, Decomposition]:
    """Compute the decomposition of every task of a run from its stored results."""
    by_task: dict[str, list[Trajectory]] = defaultdict(list)
    seen = trajectory_of if run.imported else Trajectory.from_result
    for result in read_results(run):
        by_task[result.sample.task].append(seen(result))
    turns = max((len(t.correct) for found in by_task.values() for t in found), default=0)
    own = _own_metrics(run)
    return {
        task: decompose(found, turns=turns, metrics=own) for task, found in sorted(by_task.items())
    }


def _own_metrics(run: Run) -> list[Metric]:
    """Return the metrics that the evaluator asks for, while it is installed."""
    try:
        return list(load_evaluator(run.evaluator.name).metrics)
    except InputError as error:
        log.info("only the metrics of every run for %s: %s", run.public_id, error)
        return []


def _net_flips(found: Iterable[Decomposition]) -> int | None:
    """Add up right answers gained and lost; None where nothing was asked twice."""
    cells = [each.cells for each in found if each.cells]
    return int(sum(each.ic - each.ci for each in cells)) if cells else None
