"""`score`: stored answers graded again without the model, and what changed told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., int]
WriteTask = Callable[..., Path]


@pytest.fixture
def scored(command: Command, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Score and return what is said of the task in the only run."""

    def run(path: Path, *options: str) -> dict[str, Any]:
        assert command("score", path, "--json", *options) == 0
        (found,) = json.loads(capsys.readouterr().out)["runs"]
        task: dict[str, Any] = found["tasks"]["fours"]
        return task

    return run


def everything(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


class TestUnchanged:
    def test_nothing_changed_and_twice_is_the_same(self, out: Path, scored: Any) -> None:
        first = scored(out / "reask")
        assert (first["samples"], first["answers"]) == (6, 12)
        assert (first["changed_answers"], first["flipped_answers"]) == (0, 0)
        assert first["digest"]["same"]
        assert first["before"] == first["after"]
        assert (first["before"]["acc@1"]["numerator"], first["before"]["CL"]["denominator"]) == (
            3,
            3,
        )
        assert scored(out / "reask") == first

    def test_writing_nothing_new_leaves_every_byte(self, out: Path, command: Command) -> None:
        before = everything(out)
        assert command("score", out, "--write") == 0
        assert everything(out) == before

    def test_every_run_in_a_folder(
        self, out: Path, command: Command, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert command("score", out) == 0
        told = capsys.readouterr().out
        assert "reask(rounds=1) of echo on fours" in told
        assert "single_pass() of echo on fours" in told
        assert "0 of 12 answers in 0 of 6 samples are judged otherwise; 0 flipped." in told


class TestChangedTask:
    def test_another_filter_finds_more(self, out: Path, write_task: WriteTask, scored: Any) -> None:
        write_task(pattern="([a-z0-9]+)")
        found = scored(out / "reask")
        assert not found["digest"]["same"]
        assert found["digest"]["stored"] != found["digest"]["now"]
        assert [
            (c["sample"], c["answer"], c["before"]["extracted"], c["after"]["extracted"])
            for c in found["changes"]
        ] == [("4", 1, None, "four"), ("5", 2, None, "nothing")]
        assert (found["changed_samples"], found["flipped_answers"]) == (2, 0)
        assert found["other_prompts"] == 0

    def test_another_gold_flips_answers(
        self, out: Path, write_task: WriteTask, command: Command, capsys: Any
    ) -> None:
        write_task(answer="5")
        assert command("score", out / "reask") == 0
        told = capsys.readouterr().out
        assert "12 of 12 answers in 6 of 6 samples are judged otherwise; 10 flipped." in told
        assert "The task is not the one that was evaluated: its digest was" in told
        assert "sample 0 answer 1: right → wrong, score 1 → 0, '4' → '4'" in told

    def test_its_grades_are_stored_only_by_force(
        self, out: Path, write_task: WriteTask, command: Command, capsys: Any, scored: Any
    ) -> None:
        before = everything(out)
        write_task(answer="5")
        assert command("score", out / "reask", "--write") == 2
        assert "fours changed since the run; --force stores its grades" in capsys.readouterr().err
        assert everything(out) == before
        assert command("score", out / "reask", "--write", "--force") == 0
        assert "wrote" in capsys.readouterr().err
        found = scored(out / "reask")
        assert (found["changed_answers"], found["digest"]["same"]) == (0, True)
        assert found["after"]["acc@1"]["numerator"] == 2
        assert set(everything(out)) == set(before)
        (summary,) = (out / "reask").rglob("results_*.json")
        assert json.loads(summary.read_text())["results"]["fours"]["exact_match,number"] == 1 / 3

    def test_another_prompt_is_counted(
        self, out: Path, write_task: WriteTask, scored: Any, tmp_path: Path
    ) -> None:
        path = write_task() / "fours.yaml"
        path.write_text(path.read_text().replace("{{question}}", "Say: {{question}}"))
        found = scored(out / "reask")
        assert (found["other_prompts"], found["changed_answers"]) == (6, 0)


class TestChangedGrades:
    def test_grades_that_were_edited_are_restored(
        self, out: Path, command: Command, scored: Any
    ) -> None:
        path = out / "reask" / "transcripts_fours.jsonl"
        original = path.read_bytes()
        path.write_bytes(original.replace(b'"correct":true', b'"correct":false', 1))
        assert scored(out / "reask")["flipped_answers"] == 1
        assert command("score", out / "reask", "--write") == 0
        assert path.read_bytes() == original


class TestRefusals:
    def test_refuses_a_task_that_is_gone(
        self, out: Path, tmp_path: Path, command: Command, capsys: Any
    ) -> None:
        shutil.rmtree(tmp_path / "tasks")
        assert command("score", out / "reask", "--json") == 2
        told = capsys.readouterr()
        assert "No task named 'fours' is installed." in told.err
        assert told.err.count("\n") == 1
        assert json.loads(told.out)["error"]["id"] == "not-installed"

    def test_refuses_transcripts_that_were_cut_off(
        self, out: Path, command: Command, capsys: Any
    ) -> None:
        path = out / "reask" / "transcripts_fours.jsonl"
        path.write_text(path.read_text()[:-30])
        assert command("score", out / "reask") == 2
        assert f"{path}:6: not JSON" in capsys.readouterr().err

    def test_refuses_to_write_into_files_of_others(
        self, out: Path, command: Command, capsys: Any
    ) -> None:
        (results,) = (out / "single_pass").rglob("results_*.json")
        assert command("score", results, "--write") == 2
        assert "`import` makes one of it" in capsys.readouterr().err

    def test_refuses_a_folder_without_results(
        self, tmp_path: Path, command: Command, capsys: Any
    ) -> None:
        assert command("score", tmp_path / "none") == 2
        assert "there is no such file or folder" in capsys.readouterr().err


def test_lm_evals_files_are_graded_too(
    out: Path, tmp_path: Path, scored: Any, command: Command, capsys: Any
) -> None:
    (results,) = (out / "reask").rglob("results_*.json")
    found = scored(results, "--include-path", str(tmp_path / "tasks"))
    assert (found["answers"], found["changed_answers"]) == (12, 0)
    assert not found["digest"]["stored"]
    assert command("score", results, "--include-path", tmp_path / "tasks") == 0
    assert "do not say which version of the task" in capsys.readouterr().out


def test_a_sample_that_can_no_longer_be_graded_keeps_its_grade(
    out: Path, write_task: WriteTask, scored: Any
) -> None:
    path = write_task() / "load_fours.py"
    path.write_text(path.read_text().replace(', "<<4|nothing>> f"', ""))
    found = scored(out / "reask")
    assert [failure["sample"] for failure in found["failures"]] == ["5"]
    assert "there is no sample 5" in found["failures"][0]["reason"]
    assert found["changed_answers"] == 0


def test_inspects_logs_are_graded_too(
    out: Path, tmp_path: Path, scored: Any, command: Command
) -> None:
    python = Path(__file__).resolve().parents[3] / ".venv-formats" / "bin" / "python"
    if not python.with_name("inspect").exists():
        pytest.skip("other tools' readers are not installed: make formats")
    inspect = ["--inspect-python", str(python)]
    assert command("export", out / "reask", tmp_path / "x", "--to", "inspect", *inspect) == 0
    (log,) = (tmp_path / "x").iterdir()
    found = scored(log, *inspect, "--include-path", str(tmp_path / "tasks"))
    assert (found["answers"], found["changed_answers"]) == (12, 0)
    assert found["digest"]["same"]
