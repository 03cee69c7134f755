"""The demonstration: a small real model under the bundled evaluators, from submission to board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leaderboard.accounts.models import User
from leaderboard.boards.models import Entry
from leaderboard.catalog.models import Suite
from leaderboard.catalog.services import register_model
from leaderboard.core.messages import message_for
from leaderboard.runs.models import Run, Shard, State
from leaderboard.runs.models.work import TERMINAL
from leaderboard.runs.progress import tallied
from leaderboard.runs.services import submit

MODEL = "bundled/smollm2-135m-instruct"
SUITE = "demo"
EVALUATORS: tuple[tuple[str, Mapping[str, object]], ...] = (
    ("single_pass", {}),
    ("reask", {}),
    ("review_improve", {}),
    ("self_refine", {"max_attempts": 2}),  # its chat grows with each: four take as long as the rest
    ("self_consistency", {}),
)
BATCH_SIZE = 32
FIGURES = ("acc@1", "acc@last", "CL", "CS", "RSS")
"""What the summary shows of each task."""

Figures = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Standing:
    """How far one run is."""

    evaluator: str
    state: str
    done: int
    total: int | None
    """None until every task was loaded once."""
    settled: bool
    """It ended, and, if it ended well, stands on the board."""


def submit_demo(*, limit: int | None = None, controls: bool = False) -> list[int]:
    """Submit what the form would submit, and return the runs; those that exist are not repeated.

    Args:
        limit: Samples per task; None takes the suite's own limits.
        controls: Go on to hold the results against controls; nobody waits for those.
    """
    submitted = submit(
        user=User.objects.filter(is_superuser=True).order_by("pk")[0],
        model=register_model(source="bundled", location=MODEL, batch_size=BATCH_SIZE),
        suite=Suite.objects.get(name=SUITE, current=True),
        evaluators=EVALUATORS,
        limit=limit,
        controls=controls,
    )
    return [run.pk for run in submitted.runs]


def standings(runs: Sequence[int]) -> list[Standing]:
    """Say how far the runs are, in the order of their submission."""
    found = Run.objects.filter(pk__in=runs).select_related("evaluator").order_by("pk")
    shards: dict[int, list[Shard]] = {}
    for shard in Shard.objects.filter(run__in=runs):
        shards.setdefault(shard.run_id, []).append(shard)
    shown = set(Entry.objects.filter(run__in=runs).values_list("run_id", flat=True))
    return [_standing(run, shards.get(run.pk, []), on_board=run.pk in shown) for run in found]


def summary(runs: Sequence[int]) -> dict[str, Any]:
    """Return what came out, per evaluator and task, each figure with its n and interval."""
    found = Run.objects.filter(pk__in=runs).select_related("evaluator", "model", "suite")
    told = [_run(run) for run in found.order_by("pk")]
    reasons = [reason for run in told for reason in run["reasons"]]
    first = found[0]
    return {
        "ok": not reasons,
        "reasons": reasons,
        "model": first.model.label,
        "suite": f"{first.suite.name} {first.suite.version}",
        "evaluators": told,
    }


def _standing(run: Run, shards: list[Shard], *, on_board: bool) -> Standing:
    progress = tallied(run, shards)
    ended = run.state in TERMINAL
    return Standing(
        evaluator=run.evaluator.name,
        state=State(run.state).label,
        done=progress.done,
        total=progress.total,
        settled=ended and (on_board or run.state != State.COMPLETED),
    )


def _run(run: Run) -> dict[str, Any]:
    entry = Entry.objects.filter(run=run).first()
    tasks = [] if entry is None else [_task(task.decomposition) for task in entry.tasks.all()]
    return {
        "evaluator": run.evaluator.name,
        "version": run.evaluator.version,
        "run": run.public_id,
        "state": run.state,
        "n": 0 if entry is None else entry.n,
        "n_total": 0 if entry is None else entry.n_total,
        "tasks": tasks,
        "reasons": _reasons(run, tasks),
    }


def _reasons(run: Run, tasks: list[dict[str, Any]]) -> list[str]:
    """Say why a run has nothing to show; empty when it has."""
    if run.state not in TERMINAL:
        return [f"{run.evaluator.name} was not finished ({State(run.state).label})"]
    if run.state != State.COMPLETED:
        words = message_for(run.failure_id).title
        detail = f": {run.failure_detail}" if run.failure_detail else ""
        return [f"{run.evaluator.name} {State(run.state).label.lower()}: {words}{detail}"]
    if not tasks:
        return [f"{run.evaluator.name} is complete but not on the board"]
    return [
        f"{run.evaluator.name} has no scored sample on {t['task']}" for t in tasks if not t["n"]
    ]


def _task(decomposition: Mapping[str, Any]) -> dict[str, Any]:
    estimates: Figures = decomposition["estimates"]
    shown = {name: _figure(estimates[name]) for name in FIGURES if name in estimates}
    return {
        "task": decomposition["task"],
        "n": decomposition["n"],
        "n_total": decomposition["n_total"],
        **shown,
    }


def _figure(estimate: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("value", "low", "high", "n", "denominator", "method", "reason")
    return {name: estimate[name] for name in kept if name in estimate}
