"""Metrics by name: the bundled ones, and those that installed packages offer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points

from evaluators.errors import AmbiguousName, BrokenPlugin, InputError, NotInstalled
from evaluators.metrics.catalogue import AT_A_TURN, cost, decomposition, quality
from evaluators.metrics.metric import Metric

GROUP = "redraft.metrics"

BUNDLED: Mapping[str, Metric] = {
    metric.name: metric for metric in (*decomposition, *cost, *quality)
}

_AT_A_TURN = re.compile(r"(?P<name>\w+)@(?P<turn>[1-9][0-9]{0,3})")


def names() -> list[str]:
    """Return the names of all installed metrics, without importing any."""
    return sorted({*BUNDLED, *(point.name for point in entry_points(group=GROUP))})


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
    offered = list(entry_points(group=GROUP, name=name))
    homes = [f"redraft ({name})"] if name in BUNDLED else []
    homes += [_distribution(point) for point in offered]
    if len(homes) > 1:
        raise AmbiguousName(kind="metric", name=name, distributions=homes)
    if offered:
        return _load(offered[0])
    if name in BUNDLED:
        return BUNDLED[name]
    match = _AT_A_TURN.fullmatch(name)
    if match and match["name"] in AT_A_TURN:
        return AT_A_TURN[match["name"]](int(match["turn"]))
    raise NotInstalled.among("metric", name, names())


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.value


def _load(point: EntryPoint) -> Metric:
    facts = {"kind": "metric", "name": point.name, "distribution": _distribution(point)}
    try:
        metric = point.load()
    except Exception as error:  # importing a stranger's module may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise BrokenPlugin(**facts, reason=reason) from error
    if not isinstance(metric, Metric):
        raise BrokenPlugin(
            **facts, reason=f"{point.value} is a {type(metric).__name__}, not a Metric"
        )
    if metric.name != point.name:
        raise BrokenPlugin(**facts, reason=f"the metric calls itself {metric.name!r}")
    return metric
