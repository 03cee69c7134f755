"""`list`: what is installed, from which distribution, at which version."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

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
        case _:
            from evaluators.registry import installed

            return [asdict(entry) for entry in installed(kind.removesuffix("s"))]


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
        table.add_row(*(str(row.get(column, "")) for column in columns))
    console.print(table)


def _nested(value: object) -> bool:
    return isinstance(value, list | dict)
