"""Metrics by name: the bundled ones, and those that installed packages offer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import EntryPoint

from evaluators import entry_points
from evaluators.errors import AmbiguousName, InputError
from evaluators.metrics.catalogue import AT_A_TURN, cost, decomposition, quality
from evaluators.metrics.critique import contradiction, critique, judging, self_check
from evaluators.metrics.efficiency import efficiency
from evaluators.metrics.labels import labels
from evaluators.metrics.metric import Metric
from evaluators.metrics.perf_gain_cost import perf_gain_cost
from evaluators.metrics.scored import calibrated, candidates
from evaluators.metrics.verification import verification

GROUP = "redraft.metrics"

BUNDLED: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        *decomposition,
        *cost,
        *quality,
        *efficiency,
        *labels,
        *verification,
        *critique,
        *judging,
        *self_check,
        *contradiction,
        *candidates,
        *calibrated,
        *perf_gain_cost,
    )
}

_AT_A_TURN = re.compile(r"(?P<name>\w+)@(?P<turn>[1-9][0-9]{0,3})")


def names() -> list[str]:
    """Return the names of all installed metrics, without importing any."""
    return sorted({*BUNDLED, *(point.name for point in entry_points.offered(GROUP))})


def all_metrics() -> list[Metric]:
    """Return all installed metrics by name, those of broken packages left out."""
    found = []
    for name in names():
        try:
            found.append(get(name))
        except InputError:
            # Asking for it by name says what is wrong with it.
            continue
    return found


def get(name: str) -> Metric:
    """Return the metric of that name; `acc@3` and its like exist for every turn.

    Raises:
        NotInstalled: No metric has that name.
        AmbiguousName: Two packages offer it, or one offers a bundled name.
        BrokenPlugin: Its package cannot be imported, or offers something else.
    """
    if name in BUNDLED:
        return _bundled(name)
    match = _AT_A_TURN.fullmatch(name)
    if match and match["name"] in AT_A_TURN:
        return AT_A_TURN[match["name"]](int(match["turn"]))
    return _load(entry_points.find(GROUP, name, kind="metric", also=BUNDLED))


def _bundled(name: str) -> Metric:
    """Return a bundled metric, unless a package offers another of its name."""
    others = [point for point in entry_points.offered(GROUP) if point.name == name]
    if others:
        homes = [f"redraft ({name})", *map(entry_points.distribution, others)]
        raise AmbiguousName(kind="metric", name=name, distributions=homes)
    return BUNDLED[name]


def _load(point: EntryPoint) -> Metric:
    metric = entry_points.load(point, kind="metric")
    if not isinstance(metric, Metric):
        reason = f"{point.value} is a {type(metric).__name__}, not a Metric"
    elif metric.name != point.name:
        reason = f"the metric calls itself {metric.name!r}"
    else:
        return metric
    raise entry_points.broken(point, reason, kind="metric")
