"""`list`: what is installed, from which distribution, at which version."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby
from operator import itemgetter
from typing import Any

import click

from evaluators.errors import InputError

KINDS = ("evaluators", "metrics", "tasks", "suites", "runtimes", "models")


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS), default="evaluators")
@click.option("--all", "everything", is_flag=True, help="Tasks: lm-eval's own thousands as well.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_installed(kind: str, *, everything: bool, as_json: bool) -> None:
    """Say what is installed, from which distribution, at which version."""
    rows = _rows(kind, everything=everything)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    if kind == "evaluators" and rows:
        _print_methods(rows)
    else:
        _print_table(kind, rows)


def _rows(kind: str, *, everything: bool) -> list[dict[str, Any]]:
    match kind:
        case "tasks":
            from evaluators.tasks import list_tasks

            return [_plain(entry) for entry in list_tasks(everything=everything)]
        case "suites":
            from evaluators.tasks import list_suites

            return [_plain(suite) for suite in list_suites()]
        case "models":
            from evaluators.runtimes import bundled_models

            return [{"name": f"bundled/{name}"} for name in bundled_models()]
        case "metrics":
            from evaluators.metrics import get, names

            return [
                {"name": name, "title": get(name).title, "definition": get(name).definition}
                for name in names()
            ]
        case "runtimes":
            return [row | _offers(row["name"]) for row in _installed("runtime")]
        case _:
            return _evaluators()


def _installed(kind: str) -> list[dict[str, Any]]:
    from evaluators.registry import installed

    return [asdict(entry) for entry in installed(kind)]


def _evaluators() -> list[dict[str, Any]]:
    """Return evaluators with what they need; they are imported in a process of their own."""
    from evaluators.inspection import inspect_evaluators
    from evaluators.registry import installed

    cards = inspect_evaluators([entry.name for entry in installed()], brief=True)
    return [
        {
            "kind": "evaluator",
            "name": card.name,
            "target": card.target,
            "distribution": card.distribution,
            "version": card.version,
            "summary": card.summary,
            "source": card.source,
            "information": card.information,
            "requires": f"cannot be used: {card.problem}"
            if card.problem
            else _in_order(card.requires),
            "modes": list(card.modes),
            "roles": list(card.roles),
            "controls": list(card.controls),
        }
        for card in cards
    ]


def _offers(name: str) -> dict[str, Any]:
    """Return the most that a runtime can do; what a model can do is tried when it starts."""
    from evaluators.runtimes import ModelSpec
    from evaluators.runtimes.kinds import runtime_kind

    try:
        offered = runtime_kind(name).offers(ModelSpec(name, name))
    except InputError as error:
        return {"offers": f"cannot be used: {error}"}
    return {"offers": "what the model turns out to do" if offered is None else _in_order(offered)}


def _in_order(capabilities: Iterable[str]) -> list[str]:
    """Return capabilities in the one order in which they are always named."""
    from evaluators.model import CAPABILITIES

    found = frozenset(capabilities)
    return [name for name in CAPABILITIES if name in found]


def _plain(entry: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(asdict(entry), default=str))
    return found


def _print_table(kind: str, rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not rows:
        console.print(f"No {kind} are installed.")
        return
    hidden = {"kind", "path", "target"}
    columns = [key for key, value in rows[0].items() if key not in hidden and not _nested(value)]
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(column, "")) for column in columns))
    console.print(table)


def _print_methods(rows: list[dict[str, Any]]) -> None:
    """Print a table per distribution; what does not fit a terminal is in `show` and the JSON."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    place = itemgetter("distribution", "version")
    for (distribution, version), group in groupby(sorted(rows, key=place), key=place):
        table = Table(box=None, pad_edge=False, title_justify="left", expand=True)
        table.title = f"{distribution} {version}"
        for column in ("name", "class", "arXiv", "needs"):
            table.add_column(column, no_wrap=True)
        table.add_column("what it does", no_wrap=True, ratio=1)  # gets what is left, cut off there
        for row in group:
            named = row["name"], row["information"].partition("_")[0], row["source"]
            table.add_row(*named, _besides_chat(row["requires"]), row["summary"])
        console.print(table)
        console.print()
    console.print("`python -m evaluators show NAME` tells more of one.", style="dim")


def _besides_chat(requires: list[str] | str) -> str:
    """Return what few methods need; or why one cannot be used."""
    if isinstance(requires, str):
        return requires
    return ", ".join(name for name in requires if name != "chat")


def _cell(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _nested(value: object) -> bool:
    """Tell what no cell can show: a list of texts can be shown."""
    listed = value if isinstance(value, list) else []
    return isinstance(value, dict) or not all(isinstance(item, str) for item in listed)
