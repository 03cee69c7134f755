"""`compare`: paired differences between results on the same samples."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from evaluators.errors import BadParameter

if TYPE_CHECKING:
    from evaluators.controls import ControlComparison
    from evaluators.formats.comparing import Pairing
    from evaluators.formats.stored import StoredRun

    Held: TypeAlias = Mapping[str, tuple[ControlComparison, ...]]


@click.command("compare")
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH..."
)
@click.option("--reference", type=int, default=1, show_default=True, help="Which run, from 1.")
@click.option("--force", is_flag=True, help="Compare tasks that are not the same.")
@click.option("--inspect-python", help="A Python that has inspect-ai, to read .eval logs with.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(
    paths: tuple[Path, ...],
    reference: int,
    *,
    force: bool,
    inspect_python: str | None,
    as_json: bool,
) -> None:
    """Compare results sample by sample: each run in PATH... with the reference.

    A PATH is a folder that `run --out` wrote, results of lm-eval, or an Inspect log; one with
    several runs in it stands for all of them. Samples that were not scored on both sides are left
    out and counted. With several comparisons, p-values are corrected after Holm. Every run is held
    against its own controls at equal compute, if it has any; one PATH alone is enough for that.
    """
    from evaluators.formats.comparing import corrected, hold_against_controls

    runs = [run for path in paths for run in _methods(path, inspect_python)]
    held = [(run, hold_against_controls(run)) for run in _distinct(runs)]
    held = [(run, by_task) for run, by_task in held if by_task]
    left = _reference(runs, reference, alone=bool(held))
    groups = _pair_up(left, runs, reference, force=force)
    pairings = list(chain.from_iterable(groups))
    ps = corrected(pairings)
    if as_json:
        rows = [{**pair.to_json(), "p_holm": p} for pair, p in zip(pairings, ps, strict=True)]
        told = {"reference": left.label, "comparisons": rows, "macro": list(_macro(groups))}
        print(json.dumps({**told, "controls": [_held_json(*one) for one in held]}, indent=2))
        return
    _print(pairings, ps)
    _print_macro(groups)
    _print_held(held)


def _methods(path: Path, inspect_python: str | None) -> list[StoredRun]:
    """Read a path's runs; controls stand with their methods, unless they are what was named."""
    from evaluators.formats.reading import read_runs

    runs = read_runs(path, inspect_python=inspect_python)
    return [run for run in runs if not run.run.control] or runs


def _distinct(runs: Sequence[StoredRun]) -> list[StoredRun]:
    return list({run.source.resolve(): run for run in runs}.values())


def _reference(runs: Sequence[StoredRun], number: int, *, alone: bool) -> StoredRun:
    if len(runs) < 2 and not alone:
        reason = "there is one run only; name at least two"
        raise BadParameter(owner="compare", name="PATH", value=runs[0].label, reason=reason)
    if not 1 <= number <= len(runs):
        reason = f"there are {len(runs)} runs"
        raise BadParameter(owner="compare", name="--reference", value=number, reason=reason)
    return runs[number - 1]


def _pair_up(
    left: StoredRun, runs: Sequence[StoredRun], reference: int, *, force: bool
) -> list[list[Pairing]]:
    """Return the pairings of each other run with the reference."""
    from evaluators.formats.comparing import pair_runs

    others = [run for number, run in enumerate(runs, start=1) if number != reference]
    return [pair_runs(left, right, force=force) for right in others]


def _macro(groups: Sequence[Sequence[Pairing]]) -> Iterator[dict[str, Any]]:
    """Tell the mean over tasks of every two runs that share several."""
    from evaluators.formats.comparing import macro_mean

    for pairings in groups:
        if len(pairings) > 1:
            yield {
                "left": pairings[0].left.label,
                "right": pairings[0].right.label,
                "tasks": [pairing.task for pairing in pairings],
                "differences": {n: e.to_json() for n, e in macro_mean(pairings).items()},
            }


def _held_json(run: StoredRun, by_task: Held) -> dict[str, Any]:
    from evaluators.cli.results import controls_json
    from evaluators.controls import macro_differences

    macro = macro_differences(by_task) if len(by_task) > 1 else {}
    return {
        "run": run.label,
        "tasks": {task: controls_json(found) for task, found in by_task.items()},
        "macro": {kind: estimate.to_json() for kind, estimate in macro.items()},
    }


def _print(pairings: Sequence[Pairing], ps: Sequence[float | None]) -> None:
    from rich.console import Console
    from rich.markup import escape

    from evaluators.cli.render import pairing_table

    console = Console(highlight=False, soft_wrap=True)
    for pairing, p in zip(pairings, ps, strict=True):
        found = pairing.comparison
        console.print(f"{pairing.task}, left:  {escape(pairing.left.label)}")
        console.print(f"{pairing.task}, right: {escape(pairing.right.label)}")
        console.print(pairing_table("", pairing, p=p))
        cells = f"right only on the left {found.mcnemar.b}, only on the right {found.mcnemar.c}"
        console.print(
            f"{found.n} samples scored in both ({cells}); left out: {found.only_left} only on "
            f"the left, {found.only_right} only on the right."
        )
        if pairing.same_first is not None:
            console.print(f"First answers are the same text in {pairing.same_first} of {found.n}.")
        for warning in pairing.warnings:
            console.print(f"Mind: {escape(warning)}.", style="yellow")
        console.print()


def _print_macro(groups: Sequence[Sequence[Pairing]]) -> None:
    from rich.console import Console

    from evaluators.cli.render import figures_table
    from evaluators.formats.comparing import macro_mean
    from evaluators.metrics import get

    console = Console(highlight=False, soft_wrap=True)
    for pairings in groups:
        if len(pairings) > 1:
            title = f"right − left, mean over {len(pairings)} tasks: {pairings[0].right.label}"
            found = macro_mean(pairings)
            console.print(figures_table(title, found, title_of=lambda name: get(name).title))
            console.print()


def _print_held(held: Sequence[tuple[StoredRun, Held]]) -> None:
    from rich.console import Console

    from evaluators.cli.results import print_controls, print_macro
    from evaluators.controls import macro_differences

    console = Console(highlight=False)
    for run, by_task in held:
        for task, found in by_task.items():
            print_controls(console, f"{run.run.evaluator} on {task}", found)
        if len(by_task) > 1:
            print_macro(console, run.run.evaluator, macro_differences(by_task), tasks=len(by_task))
