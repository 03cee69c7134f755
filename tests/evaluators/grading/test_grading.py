"""Verdicts on invented answers, on hostile ones, and what must hold for all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.errors import GradeError
from evaluators.grading import Grader, extract
from evaluators.grading.lm_eval import final_answers, process_results

GOLDEN = Path(__file__).parents[2] / "golden" / "grading"
CASES = json.loads((GOLDEN / "cases.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader() as grader:
        yield grader


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_golden(grader: Grader, case: dict[str, Any]) -> None:
    found = grader.grade(case["prediction"], case["gold"], choices=case.get("choices", ()))
    assert (found.correct, found.extracted, found.reason) == (
        case["correct"],
        case["extracted"],
        case["reason"],
    )


numbers = st.fractions(max_denominator=999).filter(lambda f: abs(f) < 10**9)
WRITINGS = [
    "{0}",
    "\\boxed{{{0}}}",
    "So it is \\boxed{{ {0} }}.",
    "The final answer is ${0}$.",
    "Work.\n#### {0}",
    "Work.\n**Answer:** {0}\n",
    "\\[ \\boxed{{{0}}} \\]",
    "The answer is: \\({0}\\)",
]


def written(value: Fraction) -> str:
    sign, size = ("-" if value < 0 else ""), abs(value)
    if size.denominator == 1:
        return f"{sign}{size.numerator}"
    return f"{sign}\\frac{{{size.numerator}}}{{{size.denominator}}}"


@settings(max_examples=60, deadline=None)
@given(numbers, st.sampled_from(WRITINGS))
def test_the_writing_around_a_number_does_not_matter(value: Fraction, writing: str) -> None:
    text = writing.format(written(value))
    with Grader() as grader:
        assert grader.grade(text, str(value)).correct is True, text
        assert grader.grade(text, str(value + 1)).correct is False, text


@settings(max_examples=60, deadline=None)
@given(numbers, numbers)
def test_numbers_are_compared_alike_both_ways(left: Fraction, right: Fraction) -> None:
    with Grader() as grader:
        there = grader.grade(written(left), written(right)).correct
        back = grader.grade(written(right), written(left)).correct
    assert there is back is (left == right)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-99, 99), min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_sets_have_no_order(items: list[int], random: Any) -> None:
    shuffled = items.copy()
    random.shuffle(shuffled)
    one, other = (r"\{" + ", ".join(map(str, part)) + r"\}" for part in (items, shuffled))
    with Grader() as grader:
        assert grader.grade(one, other).correct is True
        assert grader.grade(f"({one[2:-2]})", f"({other[2:-2]})").correct is (items == shuffled)


FORMULAS = [
    "x^2-1",
    "2\\sqrt{2}",
    "\\frac{x+1}{2}",
    "\\pi r^2",
    "\\sin x",
    "3-4i",
    "2^{10}",
    "[0,1)",
]


@pytest.mark.parametrize("left", FORMULAS)
def test_formulas_are_compared_alike_both_ways(grader: Grader, left: str) -> None:
    for right in FORMULAS:
        verdicts = {grader.grade(a, b).correct for a, b in ((left, right), (right, left))}
        assert verdicts == {left == right}, right


@settings(max_examples=150, deadline=None)
@given(
    st.text(max_size=200)
    | st.text(alphabet="\\boxed{}()[]^_$+-*/0123456789xABCDE., \n#%", max_size=80),
    st.text(max_size=40) | st.sampled_from(["5", "C", "(1,2)", "x^2"]),
)
def test_never_raises(prediction: str, gold: str) -> None:
    found = SHARED.grade(prediction, gold)
    assert found.correct in {True, False, None}
    assert (found.correct is None) == (found.reason == "the gold answer is empty")
    assert extract(prediction, choices=["a", "b"]) in {None, "A", "B"}


SHARED = Grader(limit=1.0)

HOSTILE = {
    "power tower": "9^{9^{9^{9}}}",
    "python powers": "9**9**9**9",
    "factorial": "(10^9)!",
    "expansion": "(1+x)^{10^6}",
    "sum": "\\sum_{n=1}^{10^{12}} \\frac{1}{n^2}",
    "open braces": "{" * 100_000,
    "boxes in boxes": "\\boxed{" * 30_000 + "1" + "}" * 30_000,
    "fractions in fractions": "\\frac{" * 3_000 + "1" + "}{2}" * 3_000,
    "roots in roots": "\\sqrt{" * 25 + "2" + "}" * 25,
    "long number": "7" * 1_000_000,
    "dollars": "$" * 100_000,
    "answer is": "answer is " * 20_000,
    "commas": "1," * 50_000,
    "digits and blanks": "1 " * 50_000,
    "backslashes": "\\" * 100_000,
    "code": "\\boxed{__import__('os').system('true')+1}",
    "surrogate": "\ud800 \x00 \boxed{5\ud800}",
}


@pytest.mark.parametrize("prediction", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_answers_are_wrong_within_bounded_time(prediction: str) -> None:
    start = time.monotonic()
    found = SHARED.grade(prediction, "x+17")
    assert found.correct is False
    assert time.monotonic() - start < 8.0 + 30.0, "the limit, and a new process on a busy machine"


def test_goes_on_after_an_answer_that_had_to_be_stopped() -> None:
    with Grader(limit=1.0) as grader:
        assert grader.grade("(1+x)^{10^6}", "x+1").reason.startswith("took too long")
        assert grader.grade("x(x+1)", "x^2+x").correct is True


def test_works_in_threads() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with Grader() as grader, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda k: grader.grade(f"x+{k}+1", f"{k + 1}+x").correct, range(8)))
    assert found == [True] * 8


def test_its_process_ends_with_ours() -> None:
    code = (
        "import os; from evaluators.grading import Grader\n"
        "g = Grader(); g.grade('x+1', '1+x'); print(g._child.pid, flush=True); os._exit(1)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    pid = int(found.stdout)
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} is still there")


class TestLmEvalHook:
    def test_scores_a_document(self) -> None:
        doc = {"question": "?", "answer": "steps\n#### 1,000"}
        assert process_results(doc, ["\\boxed{10^3}"]) == {"math_correct": 1.0}
        assert process_results(doc, ["[invalid]"]) == {"math_correct": 0.0}

    def test_takes_the_final_answer(self) -> None:
        docs = [{"gt": "C"}, {"gold": "5"}, {"gold": "B", "choices": {"text": ["x", "y"]}}]
        said = [["It is (C)."], ["No idea at all about that one."], ["Answer: B"]]
        assert final_answers(said, docs) == [["C"], ["[invalid]"], ["B"]]

    def test_refuses_a_document_without_gold(self) -> None:
        with pytest.raises(GradeError, match="the gold answer is empty"):
            process_results({"question": "?"}, ["5"])
