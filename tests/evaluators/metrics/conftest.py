"""Trajectories from transition counts, and where the shared oracles are."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluators.metrics import Trajectory

REPOSITORY = Path(__file__).parents[3]
SHARED = Path(os.environ.get("REDRAFT_SHARED", REPOSITORY.parent / "shared"))

FromCells = Callable[..., list[Trajectory]]


def trajectories_from_cells(
    cc: int = 0, ci: int = 0, ic: int = 0, ii: int = 0, *, per_question: int = 1, **facts: Any
) -> list[Trajectory]:
    """Return one trajectory per count; with `per_question`, neighbours share a cluster."""
    pairs = [(True, True)] * cc + [(True, False)] * ci + [(False, True)] * ic
    pairs += [(False, False)] * ii
    return [
        Trajectory(
            str(i), pair, cluster=f"q{i // per_question}" if per_question > 1 else "", **facts
        )
        for i, pair in enumerate(pairs)
    ]


@pytest.fixture(scope="session")
def from_cells() -> FromCells:
    return trajectories_from_cells


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every case of an oracle or golden file its own test, named by its id."""
    marker = metafunc.definition.get_closest_marker("cases")
    if marker is None:
        return
    source, pick = marker.args
    path = (
        SHARED / "oracles" if source.startswith("oracle_") else REPOSITORY / "tests/golden/metrics"
    ) / source
    if not path.exists():
        reason = f"{path} is absent; set REDRAFT_SHARED to the folder with the oracles"
        metafunc.parametrize("case", [pytest.param(None, marks=pytest.mark.skip(reason))])
        return
    data = json.loads(path.read_text(encoding="utf-8"))
    cases = pick(data)
    ids = [case.get("id", f"case{number}") for number, case in enumerate(cases)]
    metafunc.parametrize("case", cases, ids=ids)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cases(file, pick): one test per case of a JSON file")
