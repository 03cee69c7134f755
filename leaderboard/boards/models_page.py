"""Everything about one model: runs, and the decomposition by evaluator and task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser

from evaluators.metrics import Estimate
from leaderboard.accounts.models import User
from leaderboard.boards.figures import figure
from leaderboard.boards.models import Entry, TaskEntry
from leaderboard.boards.rows import changed_params, reproduce_command
from leaderboard.catalog.models import LanguageModel
from leaderboard.core.rendering import Figure
from leaderboard.runs.access import visible_runs
from leaderboard.runs.models import Run

RUNS = 200
SHOWN = ("acc@1", "acc@last", "delta", "CL", "CS", "RSS", "extra_tokens", "calls")
"""Columns of the decomposition, by metric name."""


@dataclass(frozen=True, slots=True)
class TaskRow:
    """What one method did on one task."""

    task: str
    figures: list[Figure]
    turns: list[Figure]
    """Accuracy after each answer."""
    p: str
    """McNemar's exact p, or why there is none."""
    counts: Mapping[str, int] | None
    """The four flips with wrong→wrong split; None with fewer than two answers."""
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Method:
    """A run with a result, task by task."""

    entry: Entry
    params: str
    command: str
    tasks: list[TaskRow]


@dataclass(frozen=True, slots=True)
class ModelPage:
    """All that the page of a model shows."""

    model: LanguageModel
    runs: list[Run]
    methods: list[Method]
    as_critic: list[Run]
    """Runs of other models whose critic it played."""
    columns: tuple[str, ...] = SHOWN


def model_page(model: LanguageModel, user: User | AnonymousUser) -> ModelPage:
    """Read a model's page in four queries."""
    runs = list(visible_runs(user).filter(model=model).order_by("-id")[:RUNS])
    as_critic = list(visible_runs(user).filter(critic_model=model).order_by("-id")[:RUNS])
    entries = (
        Entry.objects.filter(run__in=[run.pk for run in runs])
        .select_related(
            "run__suite", "run__model", "run__critic_model", "run__evaluator", "evaluator", "suite"
        )
        .prefetch_related("tasks")
        .order_by("suite__name", "oracle", "evaluator__name", "id")
    )
    methods = [
        Method(
            entry=entry,
            params=changed_params(entry.run, entry.evaluator),
            command=reproduce_command(entry.run),
            tasks=[_task_row(task) for task in entry.tasks.all()],
        )
        for entry in entries
    ]
    return ModelPage(model, runs, methods, as_critic)


def _task_row(task: TaskEntry) -> TaskRow:
    data: Mapping[str, Any] = task.decomposition
    estimates = {name: Estimate.from_json(e) for name, e in data["estimates"].items()}
    turns = [f"acc@{turn}" for turn in range(1, data["turns"] + 1)]
    return TaskRow(
        task=task.task,
        figures=[_figure(estimates, name) for name in SHOWN],
        turns=[_figure(estimates, name) for name in turns],
        p=_p_value(data.get("significance") or {}),
        counts=_counts(data, estimates),
        data=data,
    )


def _figure(estimates: Mapping[str, Estimate], name: str) -> Figure:
    if name not in estimates:
        return Figure("–", note="not computed", tone="none")
    return figure(estimates[name], name)


def _p_value(significance: Mapping[str, Any]) -> str:
    p = significance.get("p")
    if p is None:
        return "–"
    text = "< 0.001" if p < 0.001 else f"{p:.3f}"
    return f"{text} ({significance.get('test')})"


def _counts(data: Mapping[str, Any], estimates: Mapping[str, Estimate]) -> Mapping[str, int] | None:
    cells = data.get("cells")
    if not cells:
        return None
    counts = {key: int(cells[key]) for key in ("cc", "ci", "ic", "ii")}
    changed = estimates.get("i2i_changed_all")
    moved = int(changed.numerator or 0) if changed and changed.value is not None else 0
    return {**counts, "n": data["n"], "ii_changed": moved, "ii_unchanged": counts["ii"] - moved}


def _critic(run: Run) -> dict[str, str] | None:
    critic = run.critic_model
    return {"id": critic.public_id, "label": critic.label} if critic else None


def model_json(page: ModelPage, *, show_location: bool) -> dict[str, object]:
    """Return the page's content as data, estimates as they are stored."""
    model = page.model
    return {
        "id": model.public_id,
        "label": model.label,
        "source": model.source,
        "commit": model.revision or None,
        "runtime": model.runtime,
        "model_class": model.model_class,
        "parameters": model.parameters,
        "capabilities": model.capabilities,
        "context_window": model.context_window,
        "location": model.location if show_location else None,
        "as_critic": [run.public_id for run in page.as_critic],
        "runs": [
            {
                "id": run.public_id,
                "evaluator": run.evaluator.name,
                "suite": run.suite.name,
                "state": run.state,
            }
            for run in page.runs
        ],
        "results": [
            {
                "run": method.entry.run.public_id,
                "suite": method.entry.suite.name,
                "evaluator": method.entry.evaluator.name,
                "evaluator_version": method.entry.evaluator.version,
                "params": method.entry.run.params,
                "critic": _critic(method.entry.run),
                "replicates": method.entry.run.replicates,
                "command": method.command if show_location else None,
                "macro": method.entry.estimates,
                "tasks": {row.task: row.data for row in method.tasks},
            }
            for method in page.methods
        ],
    }
