"""Controls on the command line: run beside the methods, kept with them, compared again later."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluators.formats.reading import read_runs

Command = Callable[..., int]

ECHO = ["--model", "echo", "--model-args", "sample=true"]


@pytest.fixture
def compared(command: Command, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def run(*arguments: object) -> dict[str, Any]:
        assert command("compare", *arguments, "--json") == 0, capsys.readouterr().err
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return run


class TestRun:
    def test_holds_every_method_against_its_controls(self, command: Command, capsys: Any) -> None:
        options = ["--task", "echo_flips", "--limit", "6", "--json"]
        assert command("run", "review_improve", *ECHO, *options) == 0
        told = json.loads(capsys.readouterr().out)
        (row,) = told["results"]
        assert [one["label"] for one in row["controls"]] == [
            "single_pass", "self_consistency@3", "self_consistency@3", "bon_logprob@3",
            "null_turn@2",
        ]  # fmt: skip
        for one in row["controls"]:
            assert one["difference"]["n"] == 6
            assert one["difference"]["method"] == "newcombe paired"
            assert one["significance"]["test"] == "mcnemar exact"
            assert one["method"]["calls"]["value"] == 3
        assert told["controls"]["tokens_computed"] < told["controls"]["tokens_out"]
        assert told["controls"]["macro"] == {}

    def test_leaves_them_out_when_told(self, command: Command, capsys: Any, tmp_path: Path) -> None:
        options = ["--task", "echo_flips", "--limit", "2", "--no-controls", "--out", tmp_path]
        assert command("run", "reask", *ECHO, *options) == 0
        said = capsys.readouterr()
        assert "held against" not in said.out
        assert "Controls" not in said.err
        assert not (tmp_path / "controls").exists()

    def test_says_before_it_starts_what_they_cost_and_what_can_be_found(
        self, command: Command, capsys: Any
    ) -> None:
        options = ["--task", "echo_flips", "--limit", "4"]
        methods = ["review_improve", "in_response_verify", "single_pass"]
        assert command("run", *methods, *ECHO, *options) == 0
        said = capsys.readouterr()
        lines = " ".join(said.err.split())
        for name, most in (
            (
                "review_improve",
                "10 calls more per sample and a vote of up to 64 for its tokens, 296",
            ),
            # its one call may be as long as many answers
            (
                "in_response_verify",
                "1 call more per sample and a vote of up to 64 for its tokens, 260",
            ),
        ):
            told = f"Controls of {name}: at most {most} in all; equal draws are made once."
            assert told in lines
        assert "Controls of single_pass" not in lines
        assert "4 questions show paired differences of about 0.93 and more" in lines
        assert "self_consistency@3 on echo_flips (control)" in lines
        assert "review_improve on echo_flips, held against" in said.out
        assert "had to be computed." in said.out

    @pytest.mark.parametrize(("replicates", "shown"), [(1, False), (3, True)])
    def test_shows_what_goes_beyond_chance_where_replicates_tell(
        self, replicates: int, shown: bool, command: Command, capsys: Any
    ) -> None:
        options = ["--task", "echo_flips", "--limit", "12", "--temperature", "1", "--no-controls"]
        assert command("run", "reask", *ECHO, *options, "--replicates", replicates) == 0
        assert ("CL beyond chance" in capsys.readouterr().out) is shown

    def test_puts_questions_again_when_told(self, command: Command, capsys: Any) -> None:
        options = ["--task", "echo_flips", "--limit", "6", "--repeat", "4", "--no-controls"]
        assert command("run", "reask", *ECHO, *options, "--json") == 0
        found = json.loads(capsys.readouterr().out)["repeated"]["echo_flips"]
        assert (found["flipped"]["value"], found["flipped"]["n"]) == (0, 4)
        assert command("run", "reask", *ECHO, *options) == 0
        told = " ".join(capsys.readouterr().out.split())
        assert "put again greedily: 0 of 4 answers read otherwise, 0 are judged otherwise" in told

    def test_says_why_one_is_missing(self, command: Command, capsys: Any) -> None:
        lacking = ["--model-args", "capabilities=chat"]
        options = ["--task", "echo_flips", "--limit", "3"]
        assert command("run", "reask", "--model", "echo", *lacking, *options) == 0
        told = " ".join(capsys.readouterr().out.split())
        assert (
            "Not held against best of n: the runtime lacks token_logprobs, which bon_logprob "
            "needs; to rate two answers takes 4 calls, the method makes 2." in told
        )


class TestFolder:
    def test_keeps_them_as_runs_of_their_own(self, kept: Path) -> None:
        assert sorted(path.name for path in (kept / "controls").iterdir()) == [
            "bon_logprob@2", "bon_logprob@3", "null_turn@1", "null_turn@2", "self_consistency@2",
            "self_consistency@3", "single_pass",
        ]  # fmt: skip
        runs = {run.run.name: run for run in read_runs(kept)}
        assert runs["self_consistency@3"].run.evaluator == "self_consistency"
        assert runs["self_consistency@3"].run.params == {"samples": 3, "temperature": 0.7}
        assert list((kept / "controls" / "null_turn@2").rglob("results_*.json"))

    def test_links_every_method_to_its_controls(self, kept: Path) -> None:
        runs = {run.run.name: run for run in read_runs(kept)}
        held = runs["reask"].controls
        assert list(held) == ["fours", "echo_flips"]
        assert [(one.planned.kind, one.run) for one in held["fours"]] == [
            ("greedy", "../controls/single_pass"),
            ("sc_calls", "../controls/self_consistency@2"),
            ("sc_tokens", "../controls/self_consistency@2"),
            ("best_of_n", "../controls/bon_logprob@2"),
            ("null_turn", "../controls/null_turn@1"),
        ]
        assert runs["null_turn@1"].controls == {}

    def test_survives_an_import_into_another_folder(
        self, kept: Path, tmp_path: Path, command: Command, compared: Any
    ) -> None:
        assert command("import", kept, tmp_path / "x") == 0
        assert compared(tmp_path / "x")["controls"] == compared(kept)["controls"]

    @pytest.mark.parametrize(
        ("to", "pattern"),
        [("lm-eval", "*/echo/results_*.json"), ("hub", "echo/.eval_results/redraft-*.yaml")],
    )
    def test_exports_equal_evaluators_of_other_sizes_apart(
        self, to: str, pattern: str, kept: Path, tmp_path: Path, command: Command
    ) -> None:
        assert command("export", kept, tmp_path / "x", "--to", to) == 0
        assert len(list((tmp_path / "x").glob(pattern))) == len(read_runs(kept))

    def test_refuses_to_import_over_another_run_before_anything_is_written(
        self, kept: Path, tmp_path: Path, command: Command, capsys: Any
    ) -> None:
        assert command("import", kept / "reask", tmp_path / "x") == 0
        before = sorted((tmp_path / "x").iterdir())
        options = ["--task", "echo_flips", "--limit", "2", "--out", tmp_path / "other"]
        assert command("run", "reask", *ECHO, *options) == 0
        capsys.readouterr()
        assert command("import", tmp_path / "other", tmp_path / "x") == 2
        assert "another run is there already" in capsys.readouterr().err
        assert sorted((tmp_path / "x").iterdir()) == before


class TestCompare:
    def test_one_folder_shows_each_method_against_its_controls(
        self, kept: Path, compared: Any
    ) -> None:
        told = compared(kept)
        assert [row["run"] for row in told["controls"]] == [
            "reask(rounds=1) of echo", "review_improve(rounds=1, review=presuming) of echo",
        ]  # fmt: skip
        for row in told["controls"]:
            assert {len(found) for found in row["tasks"].values()} == {5}
            for kind, macro in row["macro"].items():
                alone = [
                    one["difference"]["value"]
                    for found in row["tasks"].values()
                    for one in found
                    if one["kind"] == kind
                ]
                assert macro["value"] == pytest.approx(sum(alone) / 2)
                assert macro["method"] == "macro"

    def test_controls_are_not_compared_as_methods(self, kept: Path, compared: Any) -> None:
        rights = [row["right"] for row in compared(kept)["comparisons"]]
        assert rights == ["review_improve(rounds=1, review=presuming) of echo"] * 2

    def test_a_control_that_is_named_is(self, kept: Path, compared: Any) -> None:
        told = compared(kept / "controls" / "null_turn@1", kept / "reask")
        assert {row["left"] for row in told["comparisons"]} == {"null_turn(rounds=1) of echo"}

    def test_tells_the_mean_over_tasks(self, kept: Path, compared: Any) -> None:
        told = compared(kept / "reask", kept / "review_improve")
        (macro,) = told["macro"]
        assert macro["tasks"] == ["fours", "echo_flips"]
        parts = [row["differences"]["acc@last"] for row in told["comparisons"]]
        found = macro["differences"]["acc@last"]
        assert found["value"] == pytest.approx(sum(part["value"] for part in parts) / 2)
        assert found["se"] == pytest.approx(sum(part["se"] ** 2 for part in parts) ** 0.5 / 2)
        assert macro["differences"]["calls"]["value"] == 1

    def test_a_folder_with_itself_shows_controls_once(
        self, kept: Path, compared: Any, command: Command, capsys: Any
    ) -> None:
        told = compared(kept / "reask", kept / "reask")
        assert len(told["controls"]) == 1
        assert {row["differences"]["acc@last"]["value"] for row in told["comparisons"]} == {0}
        assert command("compare", kept / "reask", kept / "reask") == 0
        said = capsys.readouterr().out
        assert said.count("reask on fours, held against") == 1
        assert "mean over 2 tasks" in said

    def test_a_control_that_is_gone_is_said(
        self, kept: Path, tmp_path: Path, compared: Any
    ) -> None:
        shutil.copytree(kept / "reask", tmp_path / "reask")
        shutil.copytree(kept / "controls" / "null_turn@1", tmp_path / "controls" / "null_turn@1")
        (row,) = compared(tmp_path / "reask")["controls"]
        reasons = {one["kind"]: one["reason"] for one in row["tasks"]["fours"]}
        assert reasons["null_turn"] == ""
        assert reasons["greedy"] == "its results are not where the manifest says"

    def test_refuses_one_run_without_controls(
        self, kept: Path, command: Command, capsys: Any
    ) -> None:
        assert command("compare", kept / "controls" / "single_pass") == 2
        assert "there is one run only; name at least two" in capsys.readouterr().err
