"""`compare`: paired differences between results on the same samples."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evaluators.errors import BadParameter

if TYPE_CHECKING:
    from evaluators.formats.comparing import Pairing
    from evaluators.formats.stored import StoredRun


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
    out and counted. With several comparisons, p-values are corrected after Holm.
    """
    from evaluators.formats.comparing import corrected, pair_runs
    from evaluators.formats.reading import read_runs

    runs = [run for path in paths for run in read_runs(path, inspect_python=inspect_python)]
    others = _others(runs, reference)
    left = runs[reference - 1]
    pairings = [pair for right in others for pair in pair_runs(left, right, force=force)]
    ps = corrected(pairings)
    if as_json:
        rows = [{**pair.to_json(), "p_holm": p} for pair, p in zip(pairings, ps, strict=True)]
        print(json.dumps({"reference": left.label, "comparisons": rows}, indent=2))
        return
    _print(pairings, ps)


def _others(runs: Sequence[StoredRun], reference: int) -> list[StoredRun]:
    if len(runs) < 2:
        reason = "there is one run only; name at least two"
        raise BadParameter(owner="compare", name="PATH", value=runs[0].label, reason=reason)
    if not 1 <= reference <= len(runs):
        reason = f"there are {len(runs)} runs"
        raise BadParameter(owner="compare", name="--reference", value=reference, reason=reason)
    return [run for number, run in enumerate(runs, start=1) if number != reference]


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
