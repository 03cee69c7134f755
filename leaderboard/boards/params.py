"""Parameters in words: what was set otherwise than usual."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from leaderboard.catalog.models import EvaluatorVersion
from leaderboard.runs.models import Run

_MISSING = object()


def changed_params(run: Run, evaluator: EvaluatorVersion, *, but: Collection[str] = ()) -> str:
    """Say which parameters differ from the evaluator's defaults.

    Args:
        but: Parameters that are said elsewhere.
    """
    properties: Mapping[str, Mapping[str, object]] = evaluator.schema.get("properties", {})
    changed = {
        key: value
        for key, value in run.params.items()
        if key not in but and value != properties.get(key, {}).get("default", _MISSING)
    }
    return ", ".join(f"{key}={value}" for key, value in changed.items())
