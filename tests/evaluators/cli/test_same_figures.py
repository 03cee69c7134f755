"""From lines that anybody could write come the figures that a run prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluators.evaluator import Evaluator
from evaluators.formats.transcripts import write_transcripts
from evaluators.grading.lm_eval import final_answers, process_results
from evaluators.metrics import Trajectory, count_steps, decompose, verification
from evaluators.model import Given
from evaluators.registry import installed, load_evaluator
from evaluators.testing import play

SAID = (
    "Answer: 42", "Answer: 41\nVerdict: wrong", "Verdict: correct", "Choice: 2\nAnswer: 42",
    "Step 2 is off. Verdict: wrong", "hm", "Answer: 40\nConfidence: 30",
)  # fmt: skip
SHOWN = Given("Answer: 41", steps=("21 + 20 is 41.", "Answer: 41"))
GOLDEN = Path(__file__).parents[2] / "golden" / "grading" / "cases.json"

Command = Callable[..., int]


async def trajectories(evaluator: Evaluator) -> list[Trajectory]:
    """Run an evaluator on scripted samples, half of them with a solution to judge."""
    found = []
    for i in range(4):
        given = {"given": SHOWN, "given_correct": False, "first_error": 0} if i % 2 else {}
        result = await play(
            evaluator, lambda request, i=i: SAID[(len(str(request)) + i) % len(SAID)], **given
        )
        found.append(replace(Trajectory.from_result(result), id=str(i)))
    return found


@pytest.fixture(params=[one.name for one in installed()])
async def ran(request: pytest.FixtureRequest) -> tuple[Evaluator, list[Trajectory]]:
    evaluator = load_evaluator(request.param)
    return evaluator, await trajectories(evaluator)


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


async def test_decompose_finds_all_that_a_run_reports(
    ran: tuple[Evaluator, list[Trajectory]],
    tmp_path: Path,
    command: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    evaluator, run = ran
    assert any(t.scored for t in run)
    file = write_transcripts(tmp_path / "lines.jsonl", run)
    named = [part for metric in evaluator.metrics for part in ("--metric", metric.name)]
    assert command("decompose", file, *named, "--json") == 0
    (task,) = printed(capsys)["tasks"].values()
    report = decompose(run, metrics=evaluator.metrics).to_json()
    assert task == {**report, "step_labels": [dict(step) for step in count_steps(run)]}


async def test_judge_finds_what_a_run_says_of_verdicts(
    ran: tuple[Evaluator, list[Trajectory]],
    tmp_path: Path,
    command: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    evaluator, run = ran
    said = [(t, j) for t in run if t.scored for j in t.judgements]
    if not said:
        assert not {metric.name for metric in evaluator.metrics} & {"verdict_acc", "location_acc"}
        return
    locates = any(j.location is not None or t.facts.get("locates") for t, j in said)
    rows = [
        {"id": f"{t.id}/{i}", "cluster": t.id, "correct": j.correct, "verdict": j.verdict}
        | ({"score": j.score} if j.score is not None else {})
        | ({"location": j.location, "gold_location": j.gold_location} if locates else {})
        for i, (t, j) in enumerate(said)
    ]
    file = tmp_path / "verdicts.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert command("judge", file, "--json", "--metric", "verdict_F1_guessed") == 0
    figures = printed(capsys)["tasks"][""]
    guessed = figures.pop("verdict_F1_guessed")
    assert figures == {metric.name: metric.compute(run).to_json() for metric in verification}
    assert guessed["n"] == len(said)


def test_grade_says_what_a_task_says(
    tmp_path: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through a task an answer is extracted first and graded then; `grade` does both at once."""
    cases = json.loads(GOLDEN.read_text(encoding="utf-8"))
    known = [
        case for case in cases
        if case["prediction"] and case["gold"].strip() and "too long" not in case["reason"]
    ]  # fmt: skip
    file = tmp_path / "answers.jsonl"
    keys = ("prediction", "gold", "choices")
    lines = [{key: case[key] for key in keys if key in case} for case in known]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert command("grade", file, "--json") == 0
    verdicts = printed(capsys)["verdicts"]
    for line, verdict in zip(lines, verdicts, strict=True):
        ((extracted,),) = final_answers([[line["prediction"]]], [line])
        score = process_results(line, [extracted])["math_correct"]
        assert score == verdict["correct"], line
