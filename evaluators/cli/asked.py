"""Metrics that somebody asks for by name, besides those that every result gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from evaluators.metrics import Metric

METRICS = click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Compute this one, too; may be repeated. `list metrics` names them.",
)


def metrics_named(names: Sequence[str]) -> list[Metric]:
    """Return installed metrics.

    Raises:
        NotInstalled: No metric has one of the names.
    """
    from evaluators.metrics import get

    return [get(name) for name in names]


def metrics_of(evaluator: str) -> tuple[Metric, ...]:
    """Return what an evaluator wants reported; nothing where it is not installed here."""
    from evaluators.errors import InputError
    from evaluators.registry import load_evaluator

    try:
        return load_evaluator(evaluator).metrics
    except InputError:
        return ()
