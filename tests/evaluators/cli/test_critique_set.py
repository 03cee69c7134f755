"""`critique-set`: from results to tasks of critique, and back through `run` and `score`."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluators.formats.folder import read_folder
from evaluators.tasks import TaskSpec, open_tasks

Command = Callable[..., int]
WriteTask = Callable[..., Path]


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six sampled answers of the echo to 24 questions, by two methods that share them."""
    from evaluators.cli import run_command

    out = tmp_path_factory.mktemp("results")
    arguments = [
        "run", "self_consistency", "best_of_n", "--param", "self_consistency.samples=6",
        "--task", "echo_flips", "--limit", "24", "--model", "echo", "--model-args", "sample=true",
        "--out", str(out), "--no-controls", "--json",
    ]  # fmt: skip
    assert run_command(arguments) == 0
    return out


@pytest.fixture(scope="session")
def built_once(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from evaluators.cli import run_command

    out = tmp_path_factory.mktemp("built") / "set"
    assert run_command(["critique-set", str(results), "--out", str(out)]) == 0
    return out


@pytest.fixture
def built(built_once: Path, tmp_path: Path) -> Path:
    """Return a built set of this test's own: it says nowhere in which folder it lies."""
    return Path(shutil.copytree(built_once, tmp_path / "set"))


def rows(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "critique_echo_flips.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def everything(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class TestBuilding:
    def test_every_question_has_a_right_and_a_wrong_solution(self, built: Path) -> None:
        found = rows(built)
        assert Counter(row["correct"] for row in found) == {True: 6, False: 6}
        assert set(Counter(row["sample"] for row in found).values()) == {2}
        assert {row["certainty"] <= 1.0 for row in found} == {True}

    def test_the_manifest_says_where_all_of_it_came_from(self, built: Path) -> None:
        manifest = json.loads((built / "manifest.json").read_text(encoding="utf-8"))
        assert manifest["tasks"]["echo_flips"] == {
            "candidates": 144,
            "questions": 24,
            "pairs": 6,
            "pairs_by_generator": {"echo": 6},
            "dropped_candidates": {"the same call once more": 120},
            "dropped_questions": {
                "no right answer": 8,
                "no wrong answer: too easy": 9,
                "the model is too certain": 1,
            },
        }
        assert [source["evaluator"] for source in manifest["sources"]] == [
            "best_of_n", "self_consistency",
        ]  # fmt: skip
        assert manifest["settings"] == {
            "seed": 0, "min_samples": 4, "max_certainty": 1.0, "pairs": None,
        }  # fmt: skip

    def test_the_same_twice_and_in_any_order(
        self, built: Path, results: Path, tmp_path: Path, command: Command
    ) -> None:
        again = tmp_path / "again"
        folders = [results / "self_consistency", results / "best_of_n"]
        assert command("critique-set", *folders, "--out", again) == 0
        assert rows(again) == rows(built)

    def test_answers_to_questions_that_are_not_asked_any_more_are_left_out(
        self, built: Path, results: Path, tmp_path: Path, command: Command
    ) -> None:
        """Graded by today's gold, they would be labelled as answers to another question."""
        older = Path(shutil.copytree(results, tmp_path / "older"))
        for path in older.rglob("*.jsonl"):
            path.write_text(path.read_text(encoding="utf-8").replace("Exercise 3:", "Exercise 4:"))
        out = tmp_path / "new"
        assert command("critique-set", older, "--out", out) == 0
        assert {row["sample"] for row in rows(built)} - {row["sample"] for row in rows(out)} == {
            "2"
        }
        counts = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["tasks"]
        assert counts["echo_flips"]["questions"] == 23
        assert counts["echo_flips"]["dropped_candidates"]["its question reads otherwise by now"] > 0

    def test_the_least_certain_are_kept_when_fewer_are_wanted(
        self, built: Path, results: Path, tmp_path: Path, command: Command
    ) -> None:
        out = tmp_path / "few"
        options = ("--pairs", "2", "--max-certainty", "9")
        assert command("critique-set", results, "--out", out, *options) == 0
        everyone = sorted(row["certainty"] for row in rows(built))
        assert sorted(row["certainty"] for row in rows(out)) == everyone[:4]


class TestUse:
    def run(self, built: Path, out: Path, command: Command) -> Any:
        suite = built / "critique_set.toml"
        assert (
            command(
                "run", "critique_accuracy", "--suite", suite, "--include-path", built,
                "--model", "echo", "--out", out, "--no-controls", "--json",
            )
            == 0
        )  # fmt: skip
        return read_folder(out / "critique_accuracy")

    def test_a_critique_evaluator_is_given_them_and_never_their_labels(
        self, built: Path, tmp_path: Path, command: Command
    ) -> None:
        stored = self.run(built, tmp_path / "out", command)
        results = stored.results["critique_echo_flips"]
        told = rows(built)
        assert [result.sample.given.text for result in results] == [row["text"] for row in told]
        assert [result.answers[0].grade.correct for result in results] == [
            row["correct"] for row in told
        ]
        assert {result.sample.cluster for result in results} == {row["sample"] for row in told}
        assert {result.sample.given.author for result in results} == {"echo"}

    def test_scoring_again_changes_nothing(
        self, built: Path, tmp_path: Path, command: Command, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.run(built, tmp_path / "out", command)
        capsys.readouterr()
        assert command("score", tmp_path / "out" / "critique_accuracy", "--json") == 0
        (found,) = json.loads(capsys.readouterr().out)["runs"]
        assert found["tasks"]["critique_echo_flips"]["changed_answers"] == 0


class TestMoving:
    """A set goes wherever its folder goes; of an installed task it holds no more than the name."""

    def test_the_set_of_an_installed_task_tells_no_place(self, built: Path) -> None:
        text = (built / "critique_echo_flips.yaml").read_text(encoding="utf-8")
        assert "solved:\n  task: echo_flips\n" in text
        assert str(Path(__file__).parents[3]) not in text
        assert "../" not in text

    def test_the_set_of_a_task_of_ones_own_moves_with_it(
        self, write_task: WriteTask, tmp_path: Path, command: Command, monkeypatch: Any
    ) -> None:
        home, asked = tmp_path / "home", ["run", "self_consistency", "--task", "fours"]
        home.mkdir()
        write_task().rename(home / "tasks")
        with (home / "tasks" / "fours.yaml").open("a") as file:
            file.write("  cluster: answer\n")  # under metadata; it is the same for all
        monkeypatch.chdir(home)  # paths that the caller gives are relative
        model = ["--model", "echo", "--no-controls", "--json", "--include-path"]
        options = ["--param", "samples=8", "--model-args", "sample=true", *model, "tasks"]
        assert command(*asked, *options, "--out", "results") == 0
        assert command("critique-set", "results", "--out", "set", "--max-certainty", "9") == 0
        assert "file: ../tasks/fours.yaml" in (home / "set" / "critique_fours.yaml").read_text()
        monkeypatch.chdir(tmp_path)
        home.rename(tmp_path / "elsewhere")
        out, moved = tmp_path / "out", tmp_path / "elsewhere" / "set"
        suite = ["--suite", moved / "critique_set.toml", *model, moved, "--out", out]
        assert command("run", "critique_accuracy", *suite) == 0
        (results,) = read_folder(out / "critique_accuracy").results.values()
        assert {result.sample.cluster for result in results} == {"4"}
        labels = [result.answers[0].grade.correct for result in results]
        assert Counter(labels) == {True: len(labels) // 2, False: len(labels) // 2}

    async def test_where_it_lies_does_not_make_it_another_task(
        self, built: Path, tmp_path: Path
    ) -> None:
        digests = set()
        for place in (built, Path(shutil.copytree(built, tmp_path / "there"))):
            spec = TaskSpec("critique_echo_flips")
            async with open_tasks([spec], include_paths=[place]) as tasks:
                digests.add(tasks[spec.name].info.digest)
        assert len(digests) == 1


class TestRefusals:
    def refused(self, command: Command, capsys: Any, *arguments: object) -> str:
        assert command(*arguments) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
        return str(line)

    def test_refuses_a_folder_that_is_not_empty(
        self, built: Path, results: Path, command: Command, capsys: Any
    ) -> None:
        before = everything(built)
        told = self.refused(command, capsys, "critique-set", results, "--out", built)
        assert told == f"error: {built}: the folder is not empty"
        assert everything(built) == before

    def test_refuses_results_without_a_pair_and_leaves_nothing_behind(
        self, results: Path, tmp_path: Path, command: Command, capsys: Any
    ) -> None:
        out = tmp_path / "none"
        told = self.refused(
            command, capsys, "critique-set", results, "--out", out, "--min-samples", "7"
        )
        assert told.endswith("no question gives a pair: too few answers")
        assert list(tmp_path.iterdir()) == []

    def test_refuses_results_that_are_none(
        self, tmp_path: Path, command: Command, capsys: Any
    ) -> None:
        told = self.refused(command, capsys, "critique-set", tmp_path, "--out", tmp_path / "x")
        assert "no results in it" in told

    def test_refuses_a_task_that_is_not_there_any_more(
        self, built: Path, tmp_path: Path, command: Command, capsys: Any
    ) -> None:
        path = built / "critique_echo_flips.yaml"
        path.write_text(path.read_text().replace("task: echo_flips", "task: echo_flops"))
        told = self.refused(
            command, capsys, "run", "critique_accuracy", "--task", "critique_echo_flips",
            "--include-path", built, "--model", "echo",
        )  # fmt: skip
        assert "its file cannot be used: No task named 'echo_flops' is installed" in told

    def test_refuses_questions_that_changed_since(
        self, built: Path, tmp_path: Path, command: Command, capsys: Any
    ) -> None:
        path = built / "critique_echo_flips.jsonl"
        path.write_text(path.read_text().replace("Exercise 3:", "Exercise 4:"))
        told = self.refused(
            command, capsys, "run", "critique_accuracy", "--task", "critique_echo_flips",
            "--include-path", built, "--model", "echo",
        )  # fmt: skip
        assert "question 2 of echo_flips is another one by now" in told
