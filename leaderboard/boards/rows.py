"""Rows of a board, for the page and for exports alike."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from evaluators.metrics import Estimate, null
from leaderboard.boards.beside import Beside, gain_figure
from leaderboard.boards.columns import BESIDE, FIGURES, Column
from leaderboard.boards.figures import DASH, MINUS, figure, number
from leaderboard.boards.models import Entry
from leaderboard.boards.params import changed_params
from leaderboard.boards.queries import BoardPage
from leaderboard.catalog.models import EvaluatorVersion, LanguageModel
from leaderboard.core.exports import Scalar
from leaderboard.core.rendering import Figure
from leaderboard.runs.models import Run

Cells = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the board, ready to be shown."""

    entry: Entry
    rank: int | None
    tied: bool
    """Others share the rank."""
    params: str
    """Parameters that are not the evaluator's defaults."""
    figures: list[Figure]


def rows_of(page: BoardPage, columns: Sequence[Column]) -> list[Row]:
    """Return the rows of a page in order, each with the figures of these columns."""
    counts: dict[int, int] = {}
    for rank in page.ranks.values():
        if rank is not None:
            counts[rank] = counts.get(rank, 0) + 1
    return [
        Row(
            entry=entry,
            rank=(rank := page.ranks.get(entry.pk)),
            tied=rank is not None and counts[rank] > 1,
            params=changed_params(entry.run, entry.evaluator),
            figures=[_figure(page, entry, column) for column in columns],
        )
        for entry in page.entries
    ]


def _figure(page: BoardPage, entry: Entry, column: Column) -> Figure:
    if column.control:
        return gain_figure(entry, column.control, page.beside.get(entry.pk, {}))
    return board_figure(entry, column, page.cells.get(entry.pk))


def estimate_of(entry: Entry, metric: str) -> Estimate:
    """Return a stored estimate; one that was never computed is null with a reason."""
    stored = entry.estimates.get(metric)
    return Estimate.from_json(stored) if stored else null("not computed for this run")


def board_figure(entry: Entry, column: Column, cells: Cells | None) -> Figure:
    """Return one figure of a row."""
    if column.key == "n":
        complete = entry.n == entry.n_total
        return Figure(f"{entry.n}", n=f"of {entry.n_total}", note="" if complete else "incomplete")
    if column.key == "net_flips":
        return _net_flips(entry, cells)
    return figure(estimate_of(entry, column.metric), column.metric, denominator(column.key, cells))


def denominator(key: str, cells: Cells | None) -> int | None:
    """Return what CL or CS rests on, added up over the tasks."""
    if cells is None or key not in {"cl", "cs"}:
        return None
    cc, ci, ic, ii = cells
    return cc + ci if key == "cl" else ic + ii


def _net_flips(entry: Entry, cells: Cells | None) -> Figure:
    if entry.net_flips is None or cells is None:
        return Figure(DASH, n=f"n {entry.n}", note="one answer only", tone="none")
    _, spoilt, fixed, _ = cells
    text = "0" if entry.net_flips == 0 else number(entry.net_flips, "count")
    return Figure(text, interval=f"+{fixed} {MINUS}{spoilt}", n=f"n {entry.n}")


PARTS = ("", "_low", "_high", "_n", "_method", "_reason")
"""What an export says of an estimate, as ends of column titles."""


def export_header() -> list[str]:
    """Return the titles of an export's columns."""
    names = ["rank", "model", "model_id", "evaluator", "evaluator_version", "params", "information"]
    names += ["critic", "critic_id", "judge", "judge_id", "prompts", "prompts_version"]
    names += ["prompts_sha256", "info_parity", "replicates", "imported", "control_only"]
    for column in (*FIGURES, *BESIDE):
        if column.metric or column.control:
            names += [f"{column.key}{part}" for part in PARTS]
        if column.control:
            names += [f"{column.key}_p_holm", f"{column.key}_control", f"{column.key}_run"]
    return [*names, "cl_denominator", "cs_denominator", "net_flips", "n", "n_total", "state", "run"]


def export_rows(page: BoardPage) -> Iterator[dict[str, Scalar]]:
    """Return the page's rows with raw numbers, finished runs first."""
    for row in rows_of(page, ()):
        yield {
            **_entry_export(row, page.cells.get(row.entry.pk)),
            **_beside_export(page.beside.get(row.entry.pk, {})),
        }
    for run in page.unfinished:
        yield {
            **_who(run, run.model, run.evaluator),
            "state": run.state.lower(),
            "run": run.public_id,
        }


def _who(run: Run, model: LanguageModel, evaluator: EvaluatorVersion) -> dict[str, Scalar]:
    critic, judge, pack = run.critic_model, run.judge_model, run.pack
    return {
        "model": model.label,
        "model_id": model.public_id,
        "evaluator": evaluator.name,
        "evaluator_version": evaluator.version,
        "params": changed_params(run, evaluator),
        "information": run.information,
        "critic": critic.label if critic else None,
        "critic_id": critic.public_id if critic else None,
        "judge": judge.label if judge else None,
        "judge_id": judge.public_id if judge else None,
        "prompts": pack.name if pack else None,
        "prompts_version": pack.version if pack else None,
        "prompts_sha256": pack.digest if pack else None,
        "info_parity": pack.info_parity if pack else True,
        "replicates": run.replicates,
        "imported": run.imported or None,
        "control_only": run.control_only,
    }


def _entry_export(row: Row, cells: Cells | None) -> dict[str, Scalar]:
    entry = row.entry
    data: dict[str, Scalar] = {
        "rank": row.rank,
        **_who(entry.run, entry.model, entry.evaluator),
        "cl_denominator": denominator("cl", cells),
        "cs_denominator": denominator("cs", cells),
        "net_flips": entry.net_flips,
        "n": entry.n,
        "n_total": entry.n_total,
        "state": "completed",
        "run": entry.run.public_id,
    }
    for column in FIGURES:
        if column.metric:
            data |= _parts(column.key, estimate_of(entry, column.metric))
    return data


def _beside_export(beside: Mapping[str, Beside]) -> dict[str, Scalar]:
    data: dict[str, Scalar] = {}
    for column in BESIDE:
        if (found := beside.get(column.control)) is not None:
            data |= _parts(column.key, found.difference)
            data[f"{column.key}_p_holm"] = found.p_holm
            data[f"{column.key}_control"] = found.accuracy.value
            data[f"{column.key}_run"] = found.control.public_id if found.control else None
    return data


def _parts(key: str, e: Estimate) -> dict[str, Scalar]:
    parts = (e.value, e.low, e.high, e.n, e.method, e.reason)
    return {f"{key}{name}": part for name, part in zip(PARTS, parts, strict=True)}


def reproduce_command(run: Run) -> str:
    """Return the command that makes the same run without a server."""
    model = run.model
    words = ["python", "-m", "evaluators", "run", run.evaluator.name, "--suite", run.suite.name]
    words += _model_flags("--model", model)
    for role, other in run.others.items():
        words += _model_flags(f"--{role}", other)
    if run.replicates > 1:
        words += ["--replicates", str(run.replicates)]
    words += _flags("--param", [f"{key}={value}" for key, value in sorted(run.params.items())])
    if run.pack is not None:
        words += ["--prompts", run.pack.name]
    if run.limit:
        words += ["--limit", str(run.limit)]
    words += ["--batch-size", str(model.batch_size), "--seed", str(run.seed)]
    if not run.with_controls:
        words += ["--no-controls"]
    return shlex.join(words)


def _model_flags(flag: str, model: LanguageModel) -> list[str]:
    name = model.model_class if model.runtime == "lm-eval" else model.runtime
    return [flag, name, *([f"{flag}-args", _args(model.args)] if model.args else [])]


def _args(args: Mapping[str, object]) -> str:
    plain = all(
        isinstance(value, str | int) and not set(str(value)) & set(', ="')
        for value in args.values()
    )
    if plain:
        return ",".join(f"{key}={value}" for key, value in sorted(args.items()))
    return json.dumps(args, sort_keys=True)


def _flags(flag: str, values: Sequence[str]) -> list[str]:
    return [word for value in values for word in (flag, value)]
