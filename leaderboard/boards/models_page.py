"""Everything about one model: runs, and the decomposition by evaluator and task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import Q

from evaluators.metrics import Estimate
from leaderboard.accounts.models import User
from leaderboard.boards.beside import beside_of
from leaderboard.boards.figures import figure, p_text
from leaderboard.boards.methods_table import SuiteTable, suite_tables
from leaderboard.boards.models import Entry, TaskEntry
from leaderboard.boards.params import changed_params
from leaderboard.boards.rows import reproduce_command
from leaderboard.catalog.models import LanguageModel
from leaderboard.core.rendering import Figure
from leaderboard.runs.access import visible_runs
from leaderboard.runs.models import Run

RUNS = 200
TASK_ROWS = 8
"""Tasks, over all methods, whose figures the page shows unasked; those of the others are a link."""
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
    as_other: list[Run]
    """Runs of other models whose critic or judge it played."""
    suites: list[SuiteTable]
    """Its methods beside each other, suite by suite."""
    opened: frozenset[str]
    """Public ids of the runs that are shown task by task."""
    columns: tuple[str, ...] = SHOWN

    @property
    def by_task(self) -> list[Method]:
        """What is shown task by task."""
        return [m for m in self.methods if m.entry.run.public_id in self.opened]

    @property
    def folded(self) -> list[Method]:
        """What is shown so on demand."""
        return [m for m in self.methods if m.entry.run.public_id not in self.opened]


def model_page(
    model: LanguageModel, user: User | AnonymousUser, *, opened: str = "", whole: bool = False
) -> ModelPage:
    """Read a model's page in seven queries.

    Args:
        opened: The one run that is to be shown task by task; empty for the first few.
        whole: Leave no controls out of tables that are too long with them.
    """
    runs = list(visible_runs(user).filter(model=model).order_by("-id")[:RUNS])
    helped = Q(critic_model=model) | Q(judge_model=model)
    as_other = list(visible_runs(user).filter(helped).order_by("-id")[:RUNS])
    entries = list(
        Entry.objects.filter(run__in=[run.pk for run in runs])
        .select_related(
            "run__suite",
            "run__model",
            "run__critic_model",
            "run__judge_model",
            "run__evaluator",
            "run__pack",
            "evaluator",
            "suite",
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
    suites = list(suite_tables(entries, beside_of(entries), whole=whole))
    shown = frozenset([opened]) if opened else _first(methods)
    return ModelPage(model, runs, methods, as_other, suites, shown)


def _first(methods: list[Method]) -> frozenset[str]:
    """Return the runs that are shown task by task unasked: submitted ones, as many as fit."""
    submitted = [method for method in methods if not method.entry.run.control_only]
    rows = list(accumulate(len(method.tasks) for method in submitted))
    fitting = [m for m, so_far in zip(submitted, rows, strict=True) if so_far <= TASK_ROWS]
    return frozenset(m.entry.run.public_id for m in fitting or submitted[:1])


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
    return f"{p_text(p)} ({significance.get('test')})"


def _counts(data: Mapping[str, Any], estimates: Mapping[str, Estimate]) -> Mapping[str, int] | None:
    cells = data.get("cells")
    if not cells:
        return None
    counts = {key: int(cells[key]) for key in ("cc", "ci", "ic", "ii")}
    changed = estimates.get("i2i_changed_all")
    moved = int(changed.numerator or 0) if changed and changed.value is not None else 0
    return {**counts, "n": data["n"], "ii_changed": moved, "ii_unchanged": counts["ii"] - moved}


def _named(model: LanguageModel | None) -> dict[str, str] | None:
    return {"id": model.public_id, "label": model.label} if model else None


def _against(page: ModelPage) -> dict[int, list[dict[str, object]]]:
    """Return what every row is held against, by row."""
    return {
        row.entry.pk: [
            {
                "kind": gain.kind,
                "control": gain.label or None,
                "run": gain.control or None,
                "difference": gain.estimate.to_json(),
                "p": gain.p,
                "p_holm": gain.p_holm,
            }
            for gain in row.gains
        ]
        for table in page.suites
        for row in table.rows
    }


def model_json(page: ModelPage, *, show_location: bool) -> dict[str, object]:
    """Return the page's content as data, estimates as they are stored."""
    model, against = page.model, _against(page)
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
        "as_critic": [run.public_id for run in page.as_other if run.critic_model == model],
        "as_judge": [run.public_id for run in page.as_other if run.judge_model == model],
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
                "critic": _named(method.entry.run.critic_model),
                "judge": _named(method.entry.run.judge_model),
                "prompts": method.entry.run.prompt_pack or None,
                "control_only": method.entry.run.control_only,
                "against": against[method.entry.pk],
                "replicates": method.entry.run.replicates,
                "command": method.command if show_location else None,
                "macro": method.entry.estimates,
                "tasks": {row.task: row.data for row in method.tasks},
            }
            for method in page.methods
        ],
    }
