"""`check`: a conformance report for an installed evaluator."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict

import click


@click.command("check")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(name: str, *, as_json: bool) -> None:
    """Check that an installed evaluator does what every evaluator must do."""
    from evaluators.testing import check_evaluator

    results = asyncio.run(check_evaluator(name))
    if as_json:
        print(json.dumps([asdict(result) for result in results], indent=2))
    else:
        for result in results:
            click.echo(f"{'ok  ' if result.passed else 'FAIL'}  {result.check}")
            if not result.passed:
                click.echo(f"      {result.problem}")
    if not all(result.passed for result in results):
        raise click.exceptions.Exit(1)
