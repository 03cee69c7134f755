"""`check`: a conformance report for an installed evaluator."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from evaluators.testing import CheckResult


@click.command("check")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(name: str, *, as_json: bool) -> None:
    """Check that an installed evaluator does what every evaluator must do."""
    results = asyncio.run(_checked(name))
    if as_json:
        print(json.dumps([asdict(result) for result in results], indent=2))
    else:
        for result in results:
            click.echo(f"{'ok  ' if result.passed else 'FAIL'}  {result.check}")
            if not result.passed:
                click.echo(f"      {result.problem}")
    if not all(result.passed for result in results):
        raise click.exceptions.Exit(1)


async def _checked(name: str) -> list[CheckResult]:
    from evaluators.cards import method_card
    from evaluators.registry import load_evaluator
    from evaluators.testing import CheckResult, check_evaluator

    results = await check_evaluator(name)
    if not results[0].passed:  # it cannot be imported
        return results
    card = await method_card(load_evaluator(name))
    return [*results, CheckResult("its card, if it has one, can be read and played", card.problem)]
