"""A row per method and task: its figures with their intervals, and what it is held against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from evaluators.metrics import Estimate, Trajectory, decompose
from evaluators.model import SampleResult
from evaluators.session import Report
from evaluators.survey.legs import Leg

FIGURES = (
    "acc@1", "acc@last", "delta", "CL", "CS", "RSS",
    "calls", "tokens_in", "tokens_out", "tokens_computed", "parse_fail@last", "unscored",
)  # fmt: skip
"""What the table tells of every method."""


@dataclass(frozen=True, slots=True)
class Row:
    """One method on one task."""

    method: str
    task: str
    information: str
    source: str
    n: int
    """Scored samples."""
    n_total: int
    figures: Mapping[str, Estimate]
    cells: Mapping[str, Any] | None
    """Counts of what became of first answers; None with one answer."""
    own: Mapping[str, Estimate] = field(default_factory=dict)
    """Metrics that the method asks for beside those of every run, and those of its verdicts."""
    controls: tuple[Mapping[str, Any], ...] = ()
    """Differences from what it is held against, as `ControlComparison.to_json` says them."""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON from which `from_json` restores exactly this row."""
        told = {name: getattr(self, name) for name in _PLAIN}
        return told | {
            "figures": {name: e.to_json() for name, e in self.figures.items()},
            "own": {name: e.to_json() for name, e in self.own.items()},
            "controls": [dict(control) for control in self.controls],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Row:
        """Restore a row."""
        return cls(
            **{name: data[name] for name in _PLAIN},
            figures={name: Estimate.from_json(e) for name, e in data["figures"].items()},
            own={name: Estimate.from_json(e) for name, e in data["own"].items()},
            controls=tuple(data["controls"]),
        )


_PLAIN = ("method", "task", "information", "source", "n", "n_total", "cells")


def _without_verdicts(result: SampleResult) -> Trajectory:
    return replace(Trajectory.from_result(result), judgements=())


def rows_of(leg: Leg, report: Report) -> Iterator[Row]:
    """Yield a row per method and task of a finished leg."""
    for method in leg.plan.methods:
        for task in report.tasks:
            results = report.results[method.name, task]
            found = decompose(
                map(Trajectory.from_result, results), metrics=method.evaluator.metrics
            )
            every_run = decompose(map(_without_verdicts, results)).estimates
            yield Row(
                method=method.name,
                task=task,
                information=method.evaluator.information,
                source=method.evaluator.source,
                n=found.n,
                n_total=found.n_total,
                figures={name: found.estimates[name] for name in FIGURES},
                cells=found.cells.to_json() if found.cells else None,
                own={n: e for n, e in found.estimates.items() if n not in every_run},
                controls=tuple(one.to_json() for one in report.compared(method.name, task)),
            )
