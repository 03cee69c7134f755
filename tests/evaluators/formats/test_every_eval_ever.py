"""Every Eval Ever: its own validator on our records, and records read back."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluators.errors import BadFile
from evaluators.formats.eee import model_id, write_every_eval_ever
from evaluators.formats.reading import read_one, read_runs
from evaluators.formats.stored import StoredRun
from evaluators.metrics import decompose


@pytest.fixture
def files(stored: StoredRun, tmp_path: Path) -> list[Path]:
    return list(write_every_eval_ever(tmp_path / "out", stored))


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_formats_own_validator_takes_them(
    files: list[Path], others: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [others, "-m", "every_eval_ever", "validate", "--format", "json",
         *(str(path.relative_to(tmp_path / "out")) for path in files)],
        cwd=tmp_path / "out", capture_output=True, text=True, check=False,
    )  # fmt: skip
    reports = json.loads(done.stdout)
    assert [(r["valid"], r["errors"], r["warnings"]) for r in reports] == [(True, [], [])] * 4
    assert [r["line_count"] for r in reports if r["file_type"] == "instance"] == [5, 1]
    assert done.returncode == 0


def test_an_aggregate_names_its_samples(files: list[Path], tmp_path: Path) -> None:
    samples, aggregate, *_ = files
    told = json.loads(aggregate.read_text())
    detail = told["detailed_evaluation_results"]
    assert detail["file_path"] == samples.relative_to(tmp_path / "out").as_posix()
    assert detail["checksum"] == hashlib.sha256(samples.read_bytes()).hexdigest()
    assert detail["total_rows"] == 5
    assert {r["evaluation_id"] for r in records(samples)} == {told["evaluation_id"]}
    assert {r["model_id"] for r in records(samples)} == {told["model_info"]["id"]}


def test_figures_come_with_n_and_interval(files: list[Path], stored: StoredRun) -> None:
    told = json.loads(files[1].read_text())
    found = decompose(stored.trajectories("sums"))
    shown = {r["metric_config"]["metric_id"]: r for r in told["evaluation_results"]}
    assert set(shown) == {f"redraft.{n}" for n in ("acc@1", "acc@last", "delta", "CL", "CS", "RSS")}
    kept = shown["redraft.CL"]["score_details"]
    assert kept["score"] == found["CL"].value
    assert kept["uncertainty"]["num_samples"] == 5
    assert kept["uncertainty"]["confidence_interval"] == {
        "lower": found["CL"].low, "upper": found["CL"].high, "confidence_level": 0.95,
        "method": found["CL"].method,
    }  # fmt: skip
    assert kept["details"]["n_total"] == "6"
    assert shown["redraft.RSS"]["metric_config"]["min_score"] == "-Infinity"


def test_first_and_last_answers_are_marked(files: list[Path]) -> None:
    first, _, single, *_ = records(files[0])
    marks = first["answer_attribution"]
    assert [mark["is_terminal"] for mark in marks] == [False, False, True]
    assert [first["messages"][mark["turn_idx"]]["content"] for mark in marks] == [
        "It is unclear", "It is 1", "It is 1",
    ]  # fmt: skip
    assert json.loads(first["metadata"]["correct"]) == [False, True, True]
    assert (first["interaction_type"], single["interaction_type"]) == ("multi_turn", "single_turn")
    assert single["output"] == {"raw": ["It is 2"]}


def test_read_back(files: list[Path], stored: StoredRun, tmp_path: Path) -> None:
    found = {task: run for run in read_runs(tmp_path / "out") for task in run.tasks}
    assert set(found) == {"sums", "words/de"}
    run = found["sums"]
    assert (run.origin, run.run.evaluator, run.run.params) == (
        "every-eval-ever", "reask", {"rounds": 2},
    )  # fmt: skip
    assert run.run.started == stored.run.started
    assert run.tasks["sums"].digest == "d1gest"
    kept = [r for r in stored.results["sums"] if r.answers]
    for ours, read in zip(kept, run.results["sums"], strict=True):
        assert (read.sample.id, read.replicate) == (ours.sample.id, ours.replicate)
        assert read.sample.cluster == ours.sample.cluster
        for before, after in zip(ours.answers, read.answers, strict=True):
            assert (after.text, after.grade.correct, after.grade.extracted, after.changed) == (
                before.text, before.grade.correct, before.grade.extracted, before.changed,
            )  # fmt: skip
    assert files[1] == read_one(files[1]).source


def test_nothing_scored_writes_nothing(stored: StoredRun, unscored: Any, tmp_path: Path) -> None:
    bare = replace(stored, results={"sums": (unscored(),), "words/de": ()})
    assert list(write_every_eval_ever(tmp_path / "none", bare)) == []


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("org/m", "org/m"),
        ("m", "local/m"),
        ("../x", "local/x"),
        ("a b/c:d", "a_b/c_d"),
        ("", "local/model"),
    ],
)
def test_a_model_has_an_owner(model: str, named: str) -> None:
    assert model_id(model) == named


class TestForeignRecords:
    def test_only_the_last_answer_is_known_to_be_right(self, files: list[Path]) -> None:
        samples, aggregate, *_ = files
        bare = [{**record, "metadata": None} for record in records(samples)]
        samples.write_text("".join(json.dumps(record) + "\n" for record in bare))
        told = json.loads(aggregate.read_text())
        del told["detailed_evaluation_results"]["checksum"]
        aggregate.write_text(json.dumps(told))
        (task,) = read_one(aggregate).results.values()
        assert [len(result.answers) for result in task] == [1] * 4  # the second replicate is lost
        assert [result.answers[0].grade.correct for result in task] == [True, True, False, False]
        assert task[0].answers[0].text == "It is 1"


class TestRefusals:
    def test_refuses_samples_that_were_changed(self, files: list[Path]) -> None:
        files[0].write_text(files[0].read_text() + "\n")
        with pytest.raises(BadFile, match="checksum is not the one"):
            read_one(files[1])

    def test_refuses_missing_samples(self, files: list[Path]) -> None:
        files[0].unlink()
        with pytest.raises(BadFile, match="samples are missing"):
            read_one(files[1])

    def test_refuses_another_version(self, files: list[Path]) -> None:
        told = json.loads(files[1].read_text()) | {"schema_version": "0.2.2"}
        files[1].write_text(json.dumps(told))
        with pytest.raises(BadFile, match=r"schema version '0\.2\.2'; known is 0\.3"):
            read_one(files[1])

    def test_refuses_a_bad_record_by_its_line(self, files: list[Path]) -> None:
        first, *_ = records(files[0])
        del first["evaluation"]
        files[0].write_text(json.dumps(first) + "\n")
        told = json.loads(files[1].read_text())
        del told["detailed_evaluation_results"]["checksum"]
        files[1].write_text(json.dumps(told))
        with pytest.raises(BadFile, match=r"jsonl:1: evaluation: Field required"):
            read_one(files[1])
