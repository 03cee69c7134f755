"""A survey as one table: Markdown for pages, CSV for spreadsheets, JSON for everything else."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, get_args

from evaluators.controls import TITLES
from evaluators.metrics import Estimate, get
from evaluators.model import Information
from evaluators.survey.rows import FIGURES, Row
from evaluators.survey.run import Survey

MISSING = "–"

_CLASSES = get_args(Information)
"""Results of different classes are never ranked together."""

_SHOWN = ("acc@1", "acc@last", "CL", "CS", "RSS")
"""Shares in the Markdown table, with two decimals."""

_VERDICTS = ("verdict_acc", "error_recall", "verdict_F1_wrong", "location_acc", "verdict_unparsed")
"""Shares of verdicts, where a method gives any."""

_COSTS = ("calls", "tokens_out", "tokens_computed")
"""Means per sample in the Markdown table, with one."""


def as_json(survey: Survey) -> str:
    """Return everything."""
    told = {
        "settings": survey.settings,
        "rows": [row.to_json() for row in survey.rows],
        "skipped": survey.skipped,
    }
    return json.dumps(told, indent=2, ensure_ascii=False)


def as_csv(survey: Survey) -> str:
    """Return a line per method and task; figures each with interval, counts and reason."""
    out = io.StringIO()
    parts = ("", " low", " high", " n")
    head = [f"{name}{part}" for name in FIGURES for part in parts]
    writer = csv.writer(out, lineterminator="\n")
    kinds = sorted({control["kind"] for row in survey.rows for control in row.controls})
    less = [f"less {kind}{part}" for kind in kinds for part in parts]
    own = list(dict.fromkeys(name for row in survey.rows for name in row.own))
    ours = [f"{name}{part}" for name in own for part in parts]
    writer.writerow(["method", "task", "class", "source", "n", "n_total", *head, *less, *ours])
    for row in survey.rows:
        cells = [cell for name in FIGURES for cell in _numbers(row.figures[name])]
        by_kind = {control["kind"]: control["difference"] for control in row.controls}
        told = {kind: Estimate.from_json(difference) for kind, difference in by_kind.items()}
        cells += [cell for kind in kinds for cell in _maybe(told.get(kind))]
        cells += [cell for name in own for cell in _maybe(row.own.get(name))]
        facts = [row.method, row.task, row.information, row.source, row.n, row.n_total]
        writer.writerow([*facts, *cells])
    return out.getvalue()


def as_markdown(survey: Survey) -> str:
    """Return a table per task, what was left out and how to read it."""
    blocks = ["# What every method comes to on one model", _preface(survey)]
    for task, rows in groupby(survey.rows, key=lambda row: row.task):
        blocks.append(f"## {task}")
        by_class = sorted(rows, key=lambda row: _CLASSES.index(row.information))
        for information, same in groupby(by_class, key=lambda row: row.information):
            if information != _CLASSES[0]:
                blocks.append(f"Of class {information.replace('_', ' ')}, no match for the others:")
            blocks.append(_table(list(same)))
    done = {row.task for row in survey.rows}
    for task, skipped in survey.skipped.items():
        if task not in done:
            blocks += [f"## {task}", _left_out(skipped)]
    ran = {row.method for row in survey.rows}
    nowhere = {
        name: reason
        for skipped in survey.skipped.values()
        for name, reason in skipped.items()
        if name not in ran
    }
    if nowhere:
        blocks += ["## On no task", _left_out(nowhere)]
    return "\n\n".join(blocks) + "\n"


def _preface(survey: Survey) -> str:
    s = survey.settings
    args = ", ".join(f"{key}={value}" for key, value in s["model"]["args"].items())
    tokens = "as the task says" if s["max_tokens"] is None else f"{s['max_tokens']} tokens"
    return (
        f"Model: `{s['model']['model']}` ({args or 'no arguments'}). {s['limit']} samples per "
        f"task, answers at most {tokens}, other texts {s['free_text_tokens']}, those with a limit "
        f"of their own {s['reply_tokens']}, seed {s['seed']}; all other parameters and the prompts "
        "are the methods' defaults.\n\n"
        "Figures in brackets are 95 % intervals; where the denominator is not n it stands behind "
        "a slash. “computed” is the part of the generated tokens that no other method had asked "
        "for before. “less one greedy answer” and the like are paired differences of the last "
        "answer's accuracy from controls at equal compute. “–” is a figure that there is none of, "
        "such as CL where no first answer was right, or with one answer; `table.json` has the "
        "reason of each."
    )


def _table(rows: Sequence[Row]) -> str:
    judging = [name for name in _VERDICTS if any(_told(row, name) for row in rows)]
    titles = {str(kind): title for kind, title in TITLES.items()}
    kinds = sorted({control["kind"] for row in rows for control in row.controls})
    head = [
        "method", "n", *(_title(name) for name in (*_SHOWN, *judging, *_COSTS)),
        *(f"less {titles[kind]}" for kind in kinds),
    ]  # fmt: skip
    lines = [head, ["-"] * len(head), *(_line(row, kinds, judging) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _told(row: Row, name: str) -> bool:
    return name in row.own and row.own[name].value is not None


def _line(row: Row, kinds: Iterable[str], judging: Iterable[str]) -> list[str]:
    by_kind = {control["kind"]: control["difference"] for control in row.controls}
    differences = [
        _cell(Estimate.from_json(by_kind[kind]), sign=True) if kind in by_kind else ""
        for kind in kinds
    ]
    scored = f"{row.n}" if row.n == row.n_total else f"{row.n} of {row.n_total}"
    return [
        f"`{row.method}`",
        scored,
        *(_cell(row.figures[name], n=row.n) for name in _SHOWN),
        *(_cell(row.own[name], n=row.n) if name in row.own else "" for name in judging),
        *(_cost(row.figures[name]) for name in _COSTS),
        *differences,
    ]


def _cell(estimate: Estimate, *, n: int | None = None, sign: bool = False) -> str:
    of = estimate.denominator
    counted = f" /{of:g}" if n is not None and of is not None and of != n else ""
    if estimate.value is None:
        return MISSING + counted
    interval = f" [{estimate.low:.2f}, {estimate.high:.2f}]" if estimate.has_interval else ""
    return (
        f"{estimate.value:+.2f}{interval}" if sign else f"{estimate.value:.2f}{interval}{counted}"
    )


def _cost(estimate: Estimate) -> str:
    if estimate.value is None:
        return MISSING
    interval = f" [{estimate.low:.1f}, {estimate.high:.1f}]" if estimate.has_interval else ""
    return f"{estimate.value:.1f}{interval}"


def _numbers(estimate: Estimate) -> list[Any]:
    values = (estimate.value, estimate.low, estimate.high)
    return ["" if value is None else f"{value:.6g}" for value in values] + [estimate.n]


def _maybe(estimate: Estimate | None) -> list[Any]:
    return [""] * 4 if estimate is None else _numbers(estimate)


def _title(name: str) -> str:
    return {"tokens_computed": "computed"}.get(name, get(name).title)


def _left_out(skipped: Mapping[str, str]) -> str:
    by_reason: dict[str, list[str]] = {}
    for name, reason in skipped.items():
        by_reason.setdefault(reason, []).append(f"`{name}`")
    told = [f"- {', '.join(names)}: {reason}" for reason, names in sorted(by_reason.items())]
    return "Not run:\n\n" + "\n".join(told)
