"""`judge` and `grade`: files of anyone's outputs in, figures out."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from evaluators.cli import run_command

REPOSITORY = Path(__file__).parents[3]
SHARED = Path(os.environ.get("REDRAFT_SHARED", REPOSITORY.parent / "shared"))


def written(folder: Path, *rows: object) -> str:
    path = folder / "lines.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def figures(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert run_command([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run_command(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    return captured.err


def shared(name: str) -> Path:
    path = SHARED / "data" / name
    if not path.exists():
        pytest.skip(f"{path} is absent; set REDRAFT_SHARED to the folder with the data")
    return path


class TestVerdicts:
    def test_each_policy_has_its_way_with_what_cannot_be_read(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = written(
            tmp_path,
            {"id": 1, "correct": True, "reply": "Judgment: correct."},
            {"id": 2, "correct": True, "reply": "who knows"},
            {"id": 3, "correct": False, "reply": "[[wrong]]"},
        )
        luo = figures(capsys, "judge", file, "--policy", "luo")["tasks"][""]
        assert luo["verdict_acc"]["numerator"] == 2
        assert luo["verdict_unparsed"]["numerator"] == 2
        thu = figures(capsys, "judge", file, "--policy", "thu")
        assert thu["headline"] == "verdict_F1_wrong"
        assert thu["tasks"][""]["verdict_acc"]["numerator"] == 2
        assert thu["tasks"][""]["verdict_unparsed"]["numerator"] == 1

    def test_gpt4_verifies_plans_as_published(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        data = json.loads(shared("planbench/blocksworld__gpt-4_chat.json").read_text())
        said = {True: "correct", False: "wrong"}
        rows = [
            {"id": plan["instance_id"], "correct": plan["parsed_ground_truth_plan"]["valid"],
             "verdict": said[plan["extracted_llm_plan"]["valid"]]}
            for plan in data["instances"]
        ]  # fmt: skip
        found = figures(capsys, "judge", written(tmp_path, *rows))["tasks"][""]
        counts = {name: found[name]["numerator"] for name in ("verdict_TPR", "verdict_FPR")}
        assert counts == {"verdict_TPR": 133, "verdict_FPR": 5}
        assert found["verdict_acc"]["numerator"] == 473
        assert found["verdict_FNR"]["value"] == pytest.approx(0.1419, abs=5e-5)

    def test_always_seeing_no_mistake_scores_as_published(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        tasks = ("dyck_languages", "logical_deduction", "multistep_arithmetic")
        rows, perfect = [], []
        for task in tasks:
            path = shared(f"big_bench_mistake/{task}.jsonl")
            for i, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
                trace = json.loads(line)
                gold = -1 if trace["mistake_index"] is None else trace["mistake_index"]
                base = {"id": i, "task": task, "correct": trace["answer"] == trace["target"]}
                rows.append(base | {"reply": "No", "gold_location": gold})
                perfect.append(base | {"location": gold, "gold_location": gold})
        found = figures(capsys, "judge", written(tmp_path, *rows), "--locate", "bigbench")
        shares = [found["tasks"][task]["location_acc"]["value"] for task in tasks]
        assert [round(100 * share, 2) for share in shares] == [34.08, 2.00, 20.67]
        assert found["macro"]["location_acc"]["value"] == pytest.approx(sum(shares) / 3)
        best = figures(capsys, "judge", written(tmp_path, *perfect))
        assert {best["tasks"][task]["location_acc"]["value"] for task in tasks} == {1.0}

    def test_what_was_not_asked_for_is_not_missing(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Locations or scores alone say nothing of verdicts; a named policy asks for some."""
        placed = {"id": 1, "correct": False, "reply": "\\boxed{0}", "gold_location": 0}
        scored = {"id": 2, "task": "scores", "correct": True, "score": 0.75}
        file = written(tmp_path, placed, scored)
        found = figures(capsys, "judge", file, "--locate", "processbench")["tasks"]
        assert found[""]["location_acc"]["value"] == 1
        assert found["scores"]["verdict_score"]["value"] == 0.75
        for task in found.values():
            for name in ("verdict_acc", "verdict_unparsed", "verdict_F1_wrong"):
                assert task[name]["value"] is None
                assert task[name]["reason"] == "no verdict was given"
        named = figures(capsys, "judge", file, "--locate", "processbench", "--policy", "thu")
        assert named["tasks"][""]["verdict_unparsed"]["value"] == 1
        null = written(tmp_path, {"id": 1, "correct": False, "verdict": None, "score": 0.5})
        assert figures(capsys, "judge", null)["tasks"][""]["verdict_unparsed"]["value"] == 1

    def test_metrics_of_runs_can_be_asked_for(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Lines of one cluster are one question's samples."""
        rows = [
            {"id": i, "cluster": "q", "correct": i == 0, "score": 0.9 - i / 10} for i in range(4)
        ]
        file = written(tmp_path, *rows)
        names = ("--metric", "verifier@2", "--metric", "verdict_ECE")
        found = figures(capsys, "judge", file, *names)["tasks"][""]
        assert found["verifier@2"]["value"] == 0.5
        assert found["verdict_ECE"]["value"] == pytest.approx((0.1 + 0.8 + 0.7 + 0.6) / 4)
        assert run_command(["judge", file, *names]) == 0
        assert "Verifier@2" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            ({"id": 1, "correct": True, "verdict": "wrong"}, "'acurracy'"),
            ({"id": 1, "first": "x", "second": "y", "chosen": "x", "gold": "y"}, "choices between"),
        ],
    )
    def test_refuses_a_metric_that_does_not_apply(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], row: object, reason: str
    ) -> None:
        file = written(tmp_path, row)
        assert reason in refused(capsys, "judge", file, "--metric", "acurracy")

    def test_prints_a_table(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = written(tmp_path, {"id": 1, "correct": True, "verdict": "correct"})
        assert run_command(["judge", file]) == 0
        printed = capsys.readouterr().out
        assert "Verdict acc" in printed
        assert "Policy redraft" in printed

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            ({"id": 1, "verdict": "wrong"}, ":1: correct: Field required"),
            ({"id": 1, "correct": "yes", "verdict": "wrong"}, ":1: correct: "),
            ({"id": 1, "correct": True, "verdict": "maybe"}, ":1: verdict: "),
            ({"id": 1, "correct": True}, "no verdict, reply, location or score"),
            ({"id": 1, "correct": True, "verdict": None, "location": -2}, ":1: location: "),
            ({"id": 1, "correct": True, "verdicts": "wrong"}, "did you mean 'verdict'?"),
        ],
    )
    def test_refuses_what_is_no_verdict(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], row: object, reason: str
    ) -> None:
        assert reason in refused(capsys, "judge", written(tmp_path, row))

    def test_refuses_a_verdict_given_twice(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        row = {"id": "a", "correct": True, "verdict": None}
        assert "stands in line 1 already" in refused(capsys, "judge", written(tmp_path, row, row))


class TestPairs:
    def test_position_swaps(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = written(
            tmp_path,
            {"id": 1, "first": "x", "second": "y", "reply": "[[A>>B]]", "gold": "x"},
            {"id": 1, "first": "y", "second": "x", "reply": "[[A>B]]", "gold": "x"},
            {"id": 2, "first": "x", "second": "y", "chosen": "y", "gold": "y"},
            {"id": 2, "first": "y", "second": "x", "chosen": "y", "gold": "y"},
        )
        found = figures(capsys, "judge", file)
        assert (found["kind"], found["headline"]) == ("pairs", "pair_vote_acc")
        assert found["tasks"][""]["pair_vote_acc"]["numerator"] == 1
        assert found["tasks"][""]["pair_inconsistent"]["numerator"] == 1
        strict = figures(capsys, "judge", file, "--policy", "criticeval")
        assert strict["headline"] == "pair_strict_acc"

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"chosen": "z"}, "neither first, second nor 'tie'"),
            ({"second": "x"}, "two names"),
            ({"gold": None}, "gold"),
            ({"first": "tie"}, "two names"),
        ],
    )
    def test_refuses_what_is_no_choice(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: object, reason: str
    ) -> None:
        row: Any = {"id": 1, "first": "x", "second": "y", "chosen": "x", "gold": "y"}
        assert reason in refused(capsys, "judge", written(tmp_path, row | change))

    def test_refuses_two_golds_for_one_pair(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        row = {"id": 1, "first": "x", "second": "y", "chosen": "x", "gold": "y"}
        back = {"id": 1, "first": "y", "second": "x", "chosen": "x", "gold": "x"}
        assert "different golds" in refused(capsys, "judge", written(tmp_path, row, back))

    def test_refuses_a_policy_for_the_other_kind(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        row = {"id": 1, "first": "x", "second": "y", "chosen": "x", "gold": "y"}
        file = written(tmp_path, row)
        assert "choices between two" in refused(capsys, "judge", file, "--policy", "luo")


class TestGrade:
    def test_a_verdict_per_line(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = written(
            tmp_path,
            {"id": "q1", "prediction": "\\boxed{x+1}", "gold": "1+x"},
            {"prediction": 4, "gold": 5},
            {"prediction": "Answer: B", "gold": "17", "choices": ["3", "17"]},
            {"prediction": None, "gold": "5"},
            {"prediction": "I cannot say anything about it", "gold": "5"},
        )
        assert run_command(["grade", file]) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [line["correct"] for line in lines] == [True, False, True, None, False]
        assert lines[0] == {
            "id": "q1", "correct": True, "extracted": "x+1", "reason": "symbolically equal (boxed)",
        }  # fmt: skip
        summary = figures(capsys, "grade", file)["summary"]
        assert (summary["n"], summary["n_total"], summary["correct"]) == (4, 5, 2)
        assert summary["without_answer"] == 1
        assert summary["accuracy"]["method"] == "wilson"

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            ({"prediction": "5"}, ":1: gold: Field required"),
            ({"gold": "5"}, ":1: prediction: Field required"),
            ({"prediction": "5", "gold": ""}, ":1: gold: "),
            ({"prediction": "5", "gold": None}, ":1: gold: "),
            ({"prediction": ["5"], "gold": "5"}, ":1: prediction: "),
            ({"prediction": "5", "gold": "5", "choices": ["one"]}, ":1: choices: "),
            ({"prediction": "5", "gold": "5", "choice": ["a", "b"]}, "did you mean 'choices'?"),
            ([1], "not a JSON object but a list"),
        ],
    )
    def test_refuses_what_is_no_answer(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], row: object, reason: str
    ) -> None:
        assert reason in refused(capsys, "grade", written(tmp_path, row))
