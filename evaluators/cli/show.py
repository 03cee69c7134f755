"""`show`: a method's card, for a terminal, as JSON, or as the pages of the documentation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evaluators.errors import BrokenPlugin

if TYPE_CHECKING:
    from rich.console import Console

    from evaluators.registry import EvaluatorCard


@click.command("show")
@click.argument("name", required=False)
@click.option("--markdown", is_flag=True, help="Print the card as Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--docs",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write a page for every installed method, and an index, into this folder.",
)
@click.option(
    "--distribution", "distributions", multiple=True, help="With --docs: only methods of these."
)
def show(
    name: str | None,
    *,
    markdown: bool,
    as_json: bool,
    docs: Path | None,
    distributions: tuple[str, ...],
) -> None:
    """Show a method's card: paper, turns, calls, parameters, prompts and published figures."""
    if (name is None) == (docs is None):
        raise click.UsageError("Name a method, or a folder for the pages of all (--docs).")
    if docs is not None:
        for path in write_docs(docs, distributions):
            click.echo(f"wrote {path}", err=True)
        return
    card = _card(str(name))
    if as_json:
        print(json.dumps(asdict(card), indent=2, ensure_ascii=False))
    elif markdown:
        from evaluators.cards.markdown import page

        print(page(card), end="")
    else:
        _print(card)


def write_docs(folder: Path, distributions: tuple[str, ...] = ()) -> Iterator[Path]:
    """Write pages and index, remove pages of methods that are gone, and yield what was written.

    Args:
        folder: Where they go; a page is known by the note in its first line.
        distributions: Only methods of these; none is all.
    """
    from evaluators.cards import inspect_evaluators
    from evaluators.cards.markdown import GENERATED, index, page
    from evaluators.registry import installed

    names = [e.name for e in installed() if not distributions or e.distribution in distributions]
    cards = inspect_evaluators(names)
    for card in cards:
        _require_usable(card)
    pages = {f"{card.name}.md": page(card) for card in cards}
    pages["README.md"] = index(_families(cards), results=(folder / "results.md").exists())
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.md"):
        if old.name not in pages and old.read_text(encoding="utf-8").startswith(GENERATED):
            old.unlink()
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
        yield folder / name


def _families(cards: list[EvaluatorCard]) -> dict[str, list[EvaluatorCard]]:
    from importlib.metadata import metadata

    ordered = sorted(cards, key=lambda card: card.distribution)
    return {
        f"{distribution}: {metadata(distribution)['Summary']}": list(group)
        for distribution, group in groupby(ordered, key=lambda card: card.distribution)
    }


def _card(name: str) -> EvaluatorCard:
    from evaluators.cards import inspect_evaluator

    card = inspect_evaluator(name)
    _require_usable(card)
    return card


def _require_usable(card: EvaluatorCard) -> None:
    if card.problem:
        raise BrokenPlugin(
            kind="evaluator",
            name=card.name,
            distribution=card.distribution,
            reason=card.problem,
        )


def _print(found: EvaluatorCard) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    card = found.card
    console.print(f"[bold]{found.name}[/]  {found.distribution} {found.version}")
    console.print(found.summary, markup=False)
    if found.source:
        console.print(f"{card['title']}, {card['url']}".strip(", "), markup=False)
    console.print()
    if found.description:
        console.print(" ".join(found.description.split()), markup=False)
        console.print()
    _print_facts(console, found)
    for title, lines in _lists(card):
        console.print(f"\n[bold]{title}[/]")
        for line in lines:
            console.print(f"  {line}", markup=False)
    if card["problem"]:
        console.print(f"\n{card['problem']}", style="yellow", markup=False)


def _print_facts(console: Console, found: EvaluatorCard) -> None:
    from rich.table import Table

    from evaluators.cards.markdown import facts

    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in facts(found):
        table.add_row(name, value.replace("`", ""))
    console.print(table)


def _lists(card: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield the parts of a card that are lists, those that are not empty."""
    parts = {
        "Turns of a scripted example": card["outline"],
        "Parameters": [f"{p['name']} = {p['default']}: {p['text']}" for p in card["parameters"]],
        "Where it does otherwise than the paper": card["deviations"],
        "Published figures, per cent": [_figures(one) for one in card["published"]],
        "Prompts": [
            f"{p['name']} · {p['digest']} {' '.join(f'${n}' for n in p['placeholders'])}".strip()
            for p in card["prompts"]
        ],
    }
    yield from ((title, list(lines)) for title, lines in parts.items() if lines)


def _figures(one: Mapping[str, Any]) -> str:
    told = ", ".join(f"{name} {value:g}" for name, value in one["figures"].items())
    return f"{one['setting']}: {told} ({one['source']}{', unverified' * one['unverified']})"
