"""`compare`: paired differences of results on the same samples."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluators.metrics import holm

Command = Callable[..., int]


@pytest.fixture
def compared(command: Command, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def run(*arguments: object) -> list[dict[str, Any]]:
        assert command("compare", *arguments, "--json") == 0, capsys.readouterr().err
        found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["comparisons"]
        return found

    return run


def test_two_evaluators_on_the_same_samples(out: Path, compared: Any) -> None:
    (found,) = compared(out / "single_pass", out / "reask")
    assert (found["left"], found["right"]) == ("single_pass() of echo", "reask(rounds=1) of echo")
    assert (found["n"], found["only_left"], found["only_right"]) == (6, 0, 0)
    # last answers: 4, 4, 5, 5, four, 4 against 4, 5, 4, 5, 4, nothing
    assert (found["mcnemar"]["b"], found["mcnemar"]["c"], found["mcnemar"]["p_exact"]) == (2, 2, 1)
    assert found["significance"] == {"p": 1.0, "test": "mcnemar exact"}
    difference = found["differences"]["acc@last"]
    assert (difference["value"], difference["n"], difference["method"]) == (0, 6, "newcombe paired")
    assert difference["low"] < 0 < difference["high"]
    assert found["differences"]["CL"]["reason"] == "one answer only: nothing to compare it with"
    assert found["right_estimates"]["CL"]["value"] == pytest.approx(1 / 3)
    assert found["same_first_answers"] == 6
    assert found["costs"]["calls"]["value"] == 1
    assert found["costs"]["tokens_computed"]["n"] == 6
    assert found["warnings"] == []


def test_a_run_against_itself_is_equal(out: Path, compared: Any) -> None:
    (found,) = compared(out / "reask", out / "reask")
    assert {e["value"] for e in found["differences"].values()} == {0}
    assert (found["p_holm"], found["mcnemar"]["b"], found["mcnemar"]["c"]) == (1, 0, 0)


def test_several_are_corrected_for_their_number(out: Path, compared: Any) -> None:
    found = compared(out, out / "reask", "--reference", "2")
    assert [row["right"] for row in found] == ["reask(rounds=1) of echo"] * 2
    assert {row["left"] for row in found} == {"single_pass() of echo"}
    ps = [row["significance"]["p"] for row in found]
    assert [row["p_holm"] for row in found] == holm(ps)


def test_what_only_one_side_scored_is_left_out_and_counted(
    out: Path, compared: Any, command: Command, tmp_path: Path, capsys: Any
) -> None:
    arguments = ["--model", "echo", "--task", "fours", "--include-path", tmp_path / "tasks"]
    assert command("run", "reask", *arguments, "--limit", 4, "--out", tmp_path / "few") == 0
    capsys.readouterr()
    (found,) = compared(out / "reask", tmp_path / "few")
    assert (found["n"], found["only_left"], found["only_right"]) == (4, 2, 0)
    assert found["differences"]["acc@last"]["n_total"] == 6
    assert command("compare", out / "reask", tmp_path / "few") == 0
    told = capsys.readouterr().out
    assert "4 samples scored in both" in told
    assert "2 only on the left, 0 only on the right." in told
    assert "First answers are the same text in 4 of 4." in told


def test_lm_evals_files_against_ours(out: Path, compared: Any) -> None:
    (results,) = (out / "reask").rglob("results_*.json")
    (found,) = compared(out / "reask", results)
    assert {found["differences"][name]["value"] for name in ("acc@1", "acc@last", "RSS")} == {0}
    assert found["costs"]["calls"]["reason"] == "not recorded on both sides"
    assert found["warnings"] == []


class TestRefusals:
    def test_refuses_tasks_that_are_not_the_same(
        self, out: Path, tmp_path: Path, write_task: Any, evaluate: Any, command: Command,
        compared: Any, capsys: Any,
    ) -> None:  # fmt: skip
        other = evaluate(tmp_path / "other", write_task(answer="5"), "reask")
        assert command("compare", out / "reask", other) == 2
        error = capsys.readouterr().err
        assert "it is not the same task in both: digest" in error
        assert error.count("\n") == 1
        (found,) = compared(out / "reask", other, "--force")
        assert found["n"] == 6
        assert [warning.split(",")[0] for warning in found["warnings"][1:]] == [
            "6 of 6 samples have another expected answer"
        ]

    def test_refuses_other_answers_where_no_digest_tells(
        self, out: Path, tmp_path: Path, write_task: Any, evaluate: Any, command: Command,
        capsys: Any,
    ) -> None:  # fmt: skip
        other = evaluate(tmp_path / "other", write_task(answer="5"), "reask")
        (results,) = other.rglob("results_*.json")
        assert command("compare", out / "reask", results) == 2
        assert "6 of 6 samples have another expected answer, the first is '0'" in (
            capsys.readouterr().err
        )

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            (["reask"], "there is one run only; name at least two"),
            (["reask", "single_pass", "--reference", "3"], "there are 2 runs"),
            (["reask", "none"], "there is no such file or folder"),
        ],
        ids=["one", "reference", "missing"],
    )
    def test_are_one_line(
        self, arguments: list[str], reason: str, out: Path, command: Command, capsys: Any
    ) -> None:
        paths = [out / a if a in {"reask", "single_pass", "none"} else a for a in arguments]
        assert command("compare", *paths) == 2
        error = capsys.readouterr().err
        assert reason in error
        assert error.count("\n") == 1

    def test_refuses_runs_without_a_task_in_common(
        self, out: Path, tmp_path: Path, command: Command, capsys: Any
    ) -> None:
        arguments = ["--model", "echo", "--task", "echo_flips", "--limit", 3]
        assert command("run", "reask", *arguments, "--out", tmp_path / "flips") == 0
        capsys.readouterr()
        assert command("compare", out / "reask", tmp_path / "flips") == 2
        assert "the two runs share no task" in capsys.readouterr().err


def test_replicates_are_tested_by_question(
    tmp_path: Path, write_task: Any, command: Command, compared: Any, capsys: Any
) -> None:
    arguments = [
        "--model", "echo", "--task", "fours", "--include-path", write_task(), "--replicates", 2,
    ]  # fmt: skip
    for name in ("single_pass", "reask"):
        assert command("run", name, *arguments, "--out", tmp_path / name) == 0
    capsys.readouterr()
    (found,) = compared(tmp_path / "single_pass", tmp_path / "reask")
    assert (found["n"], found["significance"]["test"]) == (12, "clustered t, paired")
    assert found["differences"]["acc@last"]["method"] == "clustered t, paired"
