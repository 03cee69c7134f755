"""`export` and `import`: results between our folders and the files of other tools."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

Command = Callable[..., int]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_lm_evals_files_are_those_of_the_run(out: Path, tmp_path: Path, command: Command) -> None:
    assert command("export", out / "reask", tmp_path / "x", "--to", "lm-eval") == 0
    run = {n: b for n, b in files(out / "reask").items() if n.startswith(("samples", "results"))}
    assert files(tmp_path / "x") == run
    assert len(run) == 3


def test_export_import_export_is_the_same_bytes(
    out: Path, tmp_path: Path, command: Command
) -> None:
    for number, source in enumerate((out, tmp_path / "0", tmp_path / "1")):
        assert command("export", source, tmp_path / str(number), "--to", "redraft") == 0
    assert files(tmp_path / "0") == files(tmp_path / "1") == files(tmp_path / "2")
    for name in ("reask", "single_pass"):
        kept = {"manifest.json", "transcripts_fours.jsonl"}
        ours = {n: b for n, b in files(out / name).items() if n in kept}
        assert files(tmp_path / "2" / f"{name}-echo") == ours


@pytest.mark.parametrize("to", ["lm-eval", "eee"])
def test_what_others_keep_comes_back(
    to: str, out: Path, tmp_path: Path, command: Command, capsys: Any
) -> None:
    assert command("export", out / "reask", tmp_path / "x", "--to", to) == 0
    assert command("import", tmp_path / "x", tmp_path / "back") == 0
    capsys.readouterr()
    assert command("compare", out / "reask", tmp_path / "back", "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)["comparisons"]
    assert {e["value"] for e in found["differences"].values()} == {0}
    assert found["n"] == 6


def test_the_hubs_file(out: Path, tmp_path: Path, command: Command) -> None:
    assert command("export", out / "reask", tmp_path / "hub", "--to", "hub") == 0
    path = tmp_path / "hub" / "echo" / ".eval_results" / "redraft-reask.yaml"
    first, last = yaml.safe_load(path.read_text())
    assert (first["value"], last["value"]) == (50.0, 50.0)
    assert first["dataset"] == {"id": "redraft/fours", "task_id": "fours"}
    assert first["notes"].startswith("acc@1 of reask 0.1.0, n=6, 95 % 0.1876 to 0.8124 (wilson)")


class TestRefusals:
    def test_refuses_to_import_over_another_run(
        self, out: Path, tmp_path: Path, evaluate: Any, command: Command, capsys: Any
    ) -> None:
        assert command("import", out / "reask", tmp_path / "x") == 0
        assert command("import", out / "reask", tmp_path / "x") == 0
        before = files(tmp_path / "x")
        other = evaluate(tmp_path / "other", tmp_path / "tasks", "reask")
        assert command("import", other, tmp_path / "x") == 2
        assert "another run is there already" in capsys.readouterr().err
        assert files(tmp_path / "x") == before

    def test_refuses_inspect_where_it_is_not_installed(
        self, out: Path, tmp_path: Path, command: Command, capsys: Any
    ) -> None:
        nobody = ["--inspect-python", tmp_path / "python"]
        assert command("export", out / "reask", tmp_path / "x", "--to", "inspect", *nobody) == 2
        error = capsys.readouterr().err
        assert "Inspect: " in error
        assert error.count("\n") == 1
        assert files(tmp_path / "x") == {}

    def test_refuses_what_holds_no_results(
        self, tmp_path: Path, command: Command, capsys: Any
    ) -> None:
        assert command("export", tmp_path, tmp_path / "x", "--to", "eee") == 2
        assert "no results in it" in capsys.readouterr().err
        assert not (tmp_path / "x").exists()
