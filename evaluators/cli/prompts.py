"""`prompts`: every installed prompt, and packs to start from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evaluators.errors import NotInstalled

if TYPE_CHECKING:
    from evaluators.strategies import Prompt


@click.command("prompts")
@click.argument("evaluators", nargs=-1, metavar="[EVALUATOR]...")
@click.option(
    "--export",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write them as a prompt pack to start from.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the texts.")
def prompts(evaluators: tuple[str, ...], *, folder: Path | None, as_json: bool) -> None:
    """List the prompts of all evaluators, or of some, with hashes and placeholders."""
    found = _found(evaluators)
    if folder is not None:
        _export(folder, found)
    elif as_json:
        print(json.dumps([_plain(prompt) for prompt in found], indent=2, ensure_ascii=False))
    else:
        _print(found)


def _found(evaluators: tuple[str, ...]) -> list[Prompt]:
    from evaluators.cards import installed_prompts, prompts_of
    from evaluators.registry import load_evaluator

    if not evaluators:
        return list(installed_prompts().values())
    found = {
        (prompt.package, prompt.name): prompt
        for name in evaluators
        for prompt in prompts_of(load_evaluator(name))
    }
    if not found:
        raise NotInstalled(kind="prompt", name=" ".join(evaluators))
    return [found[key] for key in sorted(found)]


def _export(folder: Path, found: list[Prompt]) -> None:
    from evaluators.strategies.packs import write_pack

    for path in write_pack(folder, found, name=folder.resolve().name):
        click.echo(f"wrote {path}", err=True)


def _plain(prompt: Prompt) -> dict[str, object]:
    return {
        "package": prompt.package,
        "name": prompt.name,
        "digest": prompt.digest,
        "placeholders": sorted(prompt.placeholders),
        "text": prompt.text,
    }


def _print(found: list[Prompt]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("prompt", "hash", "placeholders"):
        table.add_column(column, overflow="fold")
    for prompt in found:
        place = f"{prompt.package}/{prompt.name}"
        table.add_row(place, prompt.digest, " ".join(sorted(prompt.placeholders)))
    Console().print(table)
