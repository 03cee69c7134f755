"""`decompose` on whole results: ours, and those of lm-eval."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., int]


@pytest.mark.parametrize("whose", ["ours", "lm-eval"])
def test_every_run_is_taken_apart(whose: str, out: Path, command: Command, capsys: Any) -> None:
    (results,) = (out / "reask").rglob("results_*.json")
    path = out / "reask" if whose == "ours" else results
    assert command("decompose", path, "--json") == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["run"] == "reask(rounds=1) of echo"
    found = run["tasks"]["fours"]
    assert found["cells"] == {"cc": 1, "ci": 2, "ic": 2, "ii": 1}
    calls = {"ours": 2, "lm-eval": None}[whose]
    assert found["estimates"]["calls"]["value"] == calls
    assert run["macro"]["CL"]["n"] == 6
    assert command("decompose", path) == 0
    told = capsys.readouterr().out
    assert "reask(rounds=1) of echo on fours" in told
    assert "right→right 1, right→wrong 2, wrong→right 2, wrong→wrong 1" in told


def test_metrics_besides_are_asked_for_by_name(out: Path, command: Command, capsys: Any) -> None:
    path = out / "reask"
    assert command("decompose", path, "--json", "--metric", "over_half") == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    found = run["tasks"]["fours"]
    assert found["estimates"]["over_half"]["value"] == 0
    assert found["step_labels"] == [
        {"kept": 1, "spoilt": 2, "fixed": 2, "stuck": 1, "wandered": 0, "unknown": 0, "stopped": 0}
    ]
    assert command("decompose", path, "--metric", "over_half") == 0
    assert "Over ½" in capsys.readouterr().out
    assert command("decompose", path, "--metric", "over_haf") == 2
    assert "did you mean" in capsys.readouterr().err.casefold()


def test_a_folder_of_several_runs(out: Path, command: Command, capsys: Any) -> None:
    assert command("decompose", out, "--json") == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert [run["run"] for run in runs] == ["reask(rounds=1) of echo", "single_pass() of echo"]


def test_refuses_a_folder_without_results(tmp_path: Path, command: Command, capsys: Any) -> None:
    assert command("decompose", tmp_path) == 2
    error = capsys.readouterr().err
    assert "no results in it" in error
    assert error.count("\n") == 1
