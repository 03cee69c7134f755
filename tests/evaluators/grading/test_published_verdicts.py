"""Agreement with verdicts and gold answers that others published."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluators.grading import Grader

REPOSITORY = Path(__file__).parents[3]
SHARED = Path(os.environ.get("REDRAFT_SHARED", REPOSITORY.parent / "shared"))
SETS = {"arc-challenge": 263, "gsm8k": 273, "math": 268, "mmlu_stem": 292}
GOLDEN = json.loads(
    (REPOSITORY / "tests/golden/grading/realcritic.json").read_text(encoding="utf-8")
)


def rows(name: str) -> list[dict[str, Any]]:
    path = SHARED / "data" / name
    if not path.exists():
        pytest.skip(f"{path} is absent; set REDRAFT_SHARED to the folder with the data")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(limit=30) as grader:
        yield grader


def disagreements(grader: Grader, field: str) -> tuple[int, list[dict[str, Any]]]:
    """Grade a field of every row; return how many there are and where the authors differ."""
    total, found = 0, []
    for name, size in SETS.items():
        triples = rows(f"realcritic/{name}.jsonl")
        assert len(triples) == size
        total += size
        for row in triples:
            ours, authors = grader.grade(row[field], row["gt"]).correct, row["previous_score"][0]
            if ours is not authors:
                digest = hashlib.sha256(row["reasoning"].encode()).hexdigest()[:16]
                where = {"id": f"{name}/{row['idx']}", "sha256": digest}
                found.append(where | {"authors": authors, "ours": ours})
    return total, found


@pytest.mark.parametrize(
    ("field", "golden", "floor"), [("pred", "answers", 0.985), ("reasoning", "replies", 0.97)]
)
def test_agrees_with_the_authors_of_realcritic(
    grader: Grader, field: str, golden: str, floor: float
) -> None:
    total, found = disagreements(grader, field)
    listed = [{k: v for k, v in row.items() if k != "reason"} for row in GOLDEN[golden]]
    assert found == listed
    assert all(row["reason"] for row in GOLDEN[golden])
    assert 1 - len(found) / total >= floor


def test_reads_every_solution_of_math500(grader: Grader) -> None:
    solved = rows("math500/test.jsonl")
    from_box = [grader.grade(row["solution"], row["answer"]).correct for row in solved]
    bare = [grader.grade(row["answer"], row["solution"]).correct for row in solved]
    assert (sum(map(bool, from_box)), sum(map(bool, bare))) == (500, 500)


def test_accepts_no_answer_of_another_question(grader: Grader) -> None:
    answers = [row["answer"] for row in rows("math500/test.jsonl")]
    pairs = [(a, b) for a, b in zip(answers[::5], answers[1::5], strict=True) if a != b]
    assert [pair for pair in pairs if grader.grade(pair[0], pair[1]).correct] == []


def test_regrades_four_systems_on_gsm8k(grader: Grader) -> None:
    right = dict.fromkeys(
        ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"), 0
    )
    for row in rows("gsm8k/example_model_solutions.jsonl"):
        for system in right:
            ours = grader.grade(row[system]["solution"], row["ground_truth"]).correct
            assert ours is row[system]["is_correct"]
            right[system] += bool(ours)
    assert list(right.values()) == [286, 515, 458, 742]


def test_grades_the_answers_that_progco_published(grader: Grader) -> None:
    golds = [row["answer"] for row in rows("gsm8k/test.jsonl")]
    answers = [row["pred"] for row in rows("progco/gsm8k_gpt-3.5_first_response.jsonl")]
    found = [grader.grade(a, g).correct for a, g in zip(answers, golds, strict=True)]
    assert (sum(map(bool, found)), len(found)) == (1009, 1319)
