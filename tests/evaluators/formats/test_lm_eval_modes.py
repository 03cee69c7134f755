"""lm-eval's files of multiple choice, replicates and critics."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluators.formats.lm_eval_files import lm_eval_name, write_lm_eval
from evaluators.formats.lm_eval_reading import read_lm_eval
from evaluators.formats.stored import StoredRun
from evaluators.model import AnswerState, ChoiceLikelihood, Grade, Node, Sample, SampleResult, user
from evaluators.ports import TaskInfo

CHOICES = (" bone", " iron")


def weighed(index: int, logprobs: tuple[float, float], gold: str = "iron") -> SampleResult:
    """A question whose options were weighed; the second is right."""
    question = (user(f"What is strong? {index}"),)
    sample = Sample(str(index), "arc:likelihood", question, question, choices=CHOICES)
    best = max(range(2), key=lambda i: logprobs[i])
    scores = {"acc,none": float(best == 1), "acc_norm,none": 0.0}
    grade = Grade(best == 1, float(best == 1), CHOICES[best].strip(), gold, scores)
    likelihoods = tuple(
        ChoiceLikelihood(text, logprob, 1, greedy=i == best)
        for i, (text, logprob) in enumerate(zip(CHOICES, logprobs, strict=True))
    )
    node = Node(0, "answer", "actor", 0, (), question, "", None, None, None)
    answer = AnswerState(0, CHOICES[best], truncated=False, grade=grade, likelihoods=likelihoods)
    return SampleResult(sample, 0, "ok", (answer,), (node,))


@pytest.fixture
def written(
    a_run: StoredRun, task_info: Callable[[str], TaskInfo], tmp_path: Path
) -> tuple[Path, Path]:
    info = replace(task_info("arc:likelihood"), mode="likelihood", config={
        "output_type": "multiple_choice"})  # fmt: skip
    results = [weighed(0, (-2.5, -0.25)), weighed(1, (-1.0, -3.0))]
    samples, summary = write_lm_eval(
        tmp_path, results, tasks={"arc:likelihood": info}, run=a_run.run
    )
    return samples, summary


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class TestLikelihoods:
    def test_carry_lm_evals_own_name(self, written: tuple[Path, Path]) -> None:
        samples, summary = written
        assert samples.name.startswith("samples_arc_2026-")
        found = json.loads(summary.read_text())
        for key in ("results", "configs", "versions", "n-shot", "n-samples", "task_hashes"):
            assert list(found[key]) == ["arc"]
        assert found["results"]["arc"]["acc,none"] == 0.5
        assert list(found["redraft"]["decomposition"]) == ["arc"]

    def test_lines_are_as_lm_eval_writes_them(self, written: tuple[Path, Path]) -> None:
        first, second = lines(written[0])
        assert [request["arg_1"] for request in first["arguments"].values()] == list(CHOICES)
        assert first["resps"] == [[["-2.5", "False"]], [["-0.25", "True"]]]
        assert first["filtered_resps"] == [["-2.5", "False"], ["-0.25", "True"]]
        assert (first["target"], second["target"]) == ("1", "1")
        assert (first["acc"], second["acc"]) == (1.0, 0.0)

    def test_come_back(self, written: tuple[Path, Path]) -> None:
        found = read_lm_eval(written[1])
        assert found.tasks["arc:likelihood"].mode == "likelihood"
        first, second = found.results["arc:likelihood"]
        kept = weighed(0, (-2.5, -0.25)).answers[0]
        assert [(c.text, c.logprob, c.greedy) for c in first.answers[0].likelihoods] == [
            (c.text, c.logprob, c.greedy) for c in kept.likelihoods
        ]
        assert (first.answers[0].grade.gold, first.answers[0].grade.extracted) == ("iron", "iron")
        assert (first.sample.choices, second.answers[0].grade.correct) == (CHOICES, False)

    def test_several_right_options_stay_words(
        self, a_run: StoredRun, task_info: Any, tmp_path: Path
    ) -> None:
        path, _ = write_lm_eval(
            tmp_path,
            [weighed(0, (-1.0, -2.0), gold="bone | iron")],
            tasks={"arc:likelihood": task_info("arc:likelihood")},
            run=a_run.run,
        )
        assert lines(path)[0]["target"] == "bone | iron"


@pytest.mark.parametrize(
    ("task", "name"),
    [("arc:likelihood", "arc"), ("arc:generative", "arc:generative"), ("sums", "sums")],
)
def test_names(task: str, name: str) -> None:
    assert lm_eval_name(task) == name


def test_lettered_options_have_a_file_of_their_own(
    a_run: StoredRun, result: Any, task_info: Any, tmp_path: Path
) -> None:
    task = "arc:generative"
    info = replace(task_info(task), mode="generative")
    results = [result(0, (True,), task=task)]
    path, summary = write_lm_eval(tmp_path, results, tasks={task: info}, run=a_run.run)
    assert path.name.startswith("samples_arc__generative_2026-")
    found = read_lm_eval(summary)
    assert found.tasks[task].mode == "generative"
    assert [r.answers[0].grade.correct for r in found.results[task]] == [True]


def test_replicates_count_as_one_value(a_run: StoredRun, result: Any, task_info: Any,
    tmp_path: Path,
) -> None:  # fmt: skip
    rights = [(True, True, True), (True, False, False), (False, False, False)]
    results = [
        result(index, (right,), replicate=replicate)
        for index, draws in enumerate(rights)
        for replicate, right in enumerate(draws)
    ]
    path, summary = write_lm_eval(
        tmp_path, results, tasks={"sums": task_info("sums")}, run=a_run.run
    )
    found = json.loads(summary.read_text())
    metrics = found["results"]["sums"]
    assert metrics["sample_len"] == 3
    assert metrics["exact_match,strict"] == pytest.approx((1 + 1 / 3 + 0) / 3)
    # the standard error of three documents' means, not of nine answers
    assert metrics["exact_match_stderr,strict"] == pytest.approx(0.29397, abs=1e-5)
    assert found["redraft"]["replicates"] == 3
    strict = [row for row in lines(path) if row["filter"] == "strict"]
    assert [(row["doc_id"], row["replicate"]) for row in strict] == [
        (index, replicate) for index in range(3) for replicate in range(3)
    ]


def test_what_a_critic_said_stands_beside_the_revision(
    a_run: StoredRun, result: Any, task_info: Any, tmp_path: Path
) -> None:
    plain = result(0, (False, True))
    first, second = plain.nodes
    critique = Node(1, "critique", "critic", 1, (0,), (user("Check."),), "Off by one.", "stop",
                    None, None)  # fmt: skip
    nodes = (first, critique, replace(second, idx=2, parents=(0, 1)))
    answers = (plain.answers[0], replace(plain.answers[1], node=2))
    criticised = replace(plain, nodes=nodes, answers=answers)
    before, after, summary = write_lm_eval(
        tmp_path, [criticised], tasks={"sums": task_info("sums")}, run=a_run.run
    )
    assert [row["critiques"] for row in lines(before)] == [[], []]
    assert [row["critiques"] for row in lines(after)] == [["Off by one."]] * 2
    roles = json.loads(summary.read_text())["redraft"]["roles"]
    assert roles["critic"]["model"] == "org/critic"
