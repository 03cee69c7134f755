"""Inspect's own reader, writer, log dump and viewer on our logs, and its logs read by us."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluators.errors import BadFile
from evaluators.formats.chat import told
from evaluators.formats.inspect_logs import read_inspect, write_inspect
from evaluators.formats.inspect_reading import to_stored
from evaluators.formats.reading import read_runs
from evaluators.formats.results import to_line
from evaluators.formats.stored import StoredRun


@pytest.fixture(scope="module")
def logs(a_run: StoredRun, others: str, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return list(write_inspect(tmp_path_factory.mktemp("logs"), a_run, python=others))


def inspect(others: str, *arguments: str) -> str:
    done = subprocess.run(
        [str(Path(others).with_name("inspect")), *arguments],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout


def test_inspect_dumps_what_we_wrote(logs: list[Path], others: str, stored: StoredRun) -> None:
    found = json.loads(inspect(others, "log", "dump", str(logs[0])))
    assert (found["status"], found["eval"]["task"]) == ("success", "sums")
    assert found["eval"]["model"] == "hf/org/tiny model"
    assert found["eval"]["config"]["epochs"] == 2
    assert found["eval"]["packages"]["lm_eval"] == "0.4.13"
    assert found["plan"]["steps"][0]["params"] == {"rounds": 2}
    (scores,) = found["results"]["scores"]
    assert (scores["scored_samples"], scores["unscored_samples"]) == (5, 1)
    assert scores["metrics"]["acc@last"]["value"] == pytest.approx(3 / 5)
    assert scores["metrics"]["acc@last"]["metadata"]["n"] == 5
    first = next(one for one in found["samples"] if (one["id"], one["epoch"]) == ("0", 1))
    assert [first["scores"][f"answer_{n}"]["value"] for n in (1, 2, 3)] == ["I", "C", "C"]
    assert first["scores"]["last_answer"]["answer"] == "1"
    assert [(m["role"], m["content"]) for m in first["messages"]] == [
        (turn.role, turn.content) for turn in told(stored.results["sums"][0])
    ]
    assert first["model_usage"]["org/tiny model"]["output_tokens"] == 15
    failed = next(one for one in found["samples"] if one["id"] == "3")
    assert failed["error"]["message"] == "evaluator-crashed: boom"


def test_the_viewer_bundles_ours(logs: list[Path], others: str, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    inspect(others, "view", "bundle", "--log-dir", str(logs[0].parent), "--output-dir", str(folder))
    listing = json.loads((folder / "logs" / "listing.json").read_text())
    assert sorted(listing) == sorted(path.name for path in logs)


def test_reading_it_back_gives_the_same_run(
    logs: list[Path], others: str, stored: StoredRun
) -> None:
    for path, task in zip(logs, stored.tasks, strict=True):
        found = read_inspect(path, python=others)
        assert (found.origin, found.run) == ("redraft", stored.run)
        assert found.tasks == {task: stored.tasks[task]}
        assert found.specs == {name: s for name, s in stored.specs.items() if name == task}
        assert [to_line(r) for r in found.results[task]] == [
            to_line(r) for r in stored.results[task]
        ]


def test_writing_twice_gives_the_same_name(
    logs: list[Path], stored: StoredRun, others: str
) -> None:
    one = replace(stored, tasks={"sums": stored.tasks["sums"]})
    again = list(write_inspect(logs[0].parent, one, python=others))
    assert again == logs[:1]
    assert sorted(path.name for path in logs[0].parent.iterdir()) == sorted(p.name for p in logs)


SCORED = """
import json, sys
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import match
from inspect_ai.solver import generate
samples = [Sample(input=f"{i} + 1?", target=str(i + 1), id=f"q{i}") for i in range(3)]
task = Task(dataset=samples, solver=generate(), scorer=match(), name="sums")
said = [ModelOutput.from_content("mockllm/model", "It is 1") for _ in range(6)]
for one in said:
    one.usage = ModelUsage(input_tokens=3, output_tokens=2, total_tokens=5)
model = get_model("mockllm/model", custom_outputs=said)
eval(task, model=model, epochs=2, log_dir=sys.argv[1], display="none", log_format="eval")
"""


def test_a_log_that_inspect_made(others: str, tmp_path: Path) -> None:
    subprocess.run([others, "-c", SCORED, str(tmp_path)], check=True, capture_output=True)
    (found,) = read_runs(tmp_path, inspect_python=others)
    results = found.results["sums"]
    assert [(r.sample.id, r.replicate) for r in results] == [
        ("q0", 0), ("q0", 1), ("q1", 0), ("q1", 1), ("q2", 0), ("q2", 1),
    ]  # fmt: skip
    (answer,) = results[0].answers
    assert answer.text == "It is 1"
    assert (answer.grade.correct, answer.grade.gold) == (True, "1")
    assert [r.answers[0].grade.correct for r in results] == [True, True, *[False] * 4]
    assert (results[0].calls, results[0].tokens_in, results[0].tokens_out) == (1, 3, 2)
    assert [m.content for m in results[0].sample.question] == ["0 + 1?"]
    assert (found.origin, found.run.evaluator, found.run.model) == ("inspect", "inspect", "model")
    assert found.run.packages["inspect_ai"]


class TestRefusals:
    def test_refuses_what_is_no_log(self, others: str, tmp_path: Path) -> None:
        path = tmp_path / "x.eval"
        path.write_bytes(b"PK no zip")
        with pytest.raises(BadFile, match=r"x\.eval: Inspect: ValueError") as caught:
            read_inspect(path, python=others)
        assert "\n" not in str(caught.value)

    def test_refuses_a_python_that_lacks_inspect(self, tmp_path: Path) -> None:
        path = tmp_path / "x.eval"
        path.touch()
        with pytest.raises(BadFile, match=r"Inspect: .*none"):
            read_inspect(path, python=str(tmp_path / "none"))
        with pytest.raises(BadFile, match="need inspect-ai: install"):
            read_inspect(path)

    def test_leaves_nothing_half_made(self, stored: StoredRun, tmp_path: Path) -> None:
        with pytest.raises(BadFile):
            list(write_inspect(tmp_path / "logs", stored))
        assert list((tmp_path / "logs").iterdir()) == []


def foreign(**changes: Any) -> dict[str, Any]:
    """Return what the child says of a log with one sample."""
    sample = {
        "id": "a", "epoch": 1, "input": [{"role": "user", "content": "Q"}], "choices": [],
        "target": ["1", "one"], "messages": [], "completion": "It is 1", "stop_reason": "stop",
        "scores": {"match": {"value": "C", "answer": "1", "explanation": "It is 1"}},
        "usage": {"m": {"input_tokens": 3, "output_tokens": 2}}, "metadata": {"level": 2},
        "seconds": 1.5, "error": None,
    }  # fmt: skip
    spec = {"task": "t", "created": "2026-01-01T00:00:00+00:00", "model": "mock/m"}
    return {"status": "success", "eval": spec, "samples": [sample | changes]}


class TestForeignLogs:
    def test_usage_of_one_call_is_kept(self) -> None:
        (result,) = to_stored(Path("x.eval"), foreign()).results["t"]
        assert (result.calls, result.tokens_in, result.tokens_out) == (1, 3, 2)
        assert (result.sample.metadata, result.answers[0].grade.gold) == ({"level": 2}, "1 | one")

    def test_usage_of_several_calls_is_unknown(self) -> None:
        said = [{"role": "assistant", "content": text} for text in ("a", "b")]
        found = to_stored(Path("x.eval"), foreign(messages=said))
        assert next(found.trajectories("t")).calls is None

    @pytest.mark.parametrize(
        ("value", "score"),
        [("C", 1.0), ("I", 0.0), ("P", 0.5), (0.25, 0.25), (True, 1.0)],
        ids=["correct", "incorrect", "partial", "number", "truth"],
    )
    def test_values_of_scores(self, value: Any, score: float) -> None:
        told_of = {"s": {"value": value, "answer": None, "explanation": None}}
        (result,) = to_stored(Path("x.eval"), foreign(scores=told_of)).results["t"]
        assert result.answers[0].grade.score == score
        assert result.answers[0].grade.correct == (score == 1)
        assert result.answers[0].grade.extracted is None

    def test_refuses_a_score_that_is_neither_right_nor_wrong(self) -> None:
        told_of = {"s": {"value": "very good", "answer": None, "explanation": None}}
        with pytest.raises(BadFile, match="'s' is 'very good', neither right nor wrong"):
            to_stored(Path("x.eval"), foreign(scores=told_of))

    def test_what_failed_is_unscored(self) -> None:
        for change in ({"error": "boom"}, {"scores": {}}):
            (result,) = to_stored(Path("x.eval"), foreign(**change)).results["t"]
            assert (result.status, result.answers) == ("unscored", ())

    def test_refuses_a_log_of_an_evaluation_that_failed(self) -> None:
        with pytest.raises(BadFile, match="the evaluation did not finish: cancelled"):
            to_stored(Path("x.eval"), foreign() | {"status": "cancelled"})

    def test_refuses_a_log_without_samples(self) -> None:
        with pytest.raises(BadFile, match="has no samples"):
            to_stored(Path("x.eval"), foreign() | {"samples": []})

    def test_refuses_ours_when_changed(self) -> None:
        changed = foreign(metadata={"redraft": {"replicate": 0}})
        with pytest.raises(BadFile, match="of ours was changed: sample: Field required"):
            to_stored(Path("x.eval"), changed)
        odd = foreign()
        odd["eval"] = odd["eval"] | {"metadata": {"redraft": {"run": {}}}}
        with pytest.raises(BadFile, match="we wrote into it was changed"):
            to_stored(Path("x.eval"), odd)
