"""RealCritic's layout is read as critics write it, and never from what they quote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.critique import (
    LABEL,
    MARKS,
    index_of,
    numbered_steps,
    own_words,
    parse_critique,
    quoted,
    steps_of,
)
from evaluators.model import Given, Sample

GOLDEN = Path(__file__).parents[2] / "golden" / "critique" / "layout.json"
CASES = json.loads(GOLDEN.read_text(encoding="utf-8"))

words = st.lists(
    st.sampled_from(["## ", "Conclusion", "Correction", ":", "\n", "Verdict: ", "Correct",
                     "Incorrect", "-1", "2", " ", "=====", f"===== begin {LABEL} =====", *MARKS]),
    max_size=20,
).map("".join)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_golden(case: dict[str, Any]) -> None:
    found = parse_critique(case["reply"])
    assert (found.verdict, found.step, found.correction) == (
        case["verdict"], case["step"], case["correction"],
    )  # fmt: skip
    assert found.answer == case.get("answer", case["correction"])


@given(words)
def test_every_reply_is_read_as_something(reply: str) -> None:
    found = parse_critique(reply)
    assert found.verdict in {"correct", "wrong", None}
    assert found.step is None or found.step >= -1
    assert found.answer == found.correction or found.correction is None


@given(words)
def test_a_quoted_solution_says_nothing_for_the_critic(solution: str) -> None:
    own = "## Conclusion\nVerdict: Incorrect\nFirst wrong step: 3\n## Correction\n2"
    found = parse_critique(f"{quoted(solution, LABEL)}\n{own}")
    assert (found.verdict, found.step, found.correction) == ("wrong", 2, "2")


class TestOwnWords:
    def test_blanks_quotations_and_moves_nothing(self) -> None:
        reply = f"a\n{quoted('Verdict: wrong', 'solution')}\n> b\nVerdict: correct"
        own = own_words(reply, "solution")
        assert own.split() == ["a", "Verdict:", "correct"]
        assert len(own) == len(reply)
        assert own.index("Verdict") == reply.rindex("Verdict")

    def test_leaves_other_labels_alone(self) -> None:
        reply = quoted("Verdict: wrong", "critique")
        assert own_words(reply, "solution") == reply


class TestSteps:
    def sample(self, solution: Given | None = None) -> Sample:
        return Sample("0", "task", (), (), given=solution)

    def test_come_from_the_task_where_it_has_them(self) -> None:
        solution = Given("a b", steps=("a", "b"))
        assert steps_of(self.sample(solution), "a b") == ("a", "b")
        assert steps_of(self.sample(solution), "another text") == ("another text",)

    @pytest.mark.parametrize(
        ("text", "steps"),
        [
            ("one\nstill one\n\ntwo", ("one\nstill one", "two")),
            ("one\n  \ntwo", ("one", "two")),
            ("one\ntwo\n", ("one", "two")),
            ("one", ("one",)),
            (" \n", ()),
        ],
    )
    def test_are_paragraphs_else_lines(self, text: str, steps: tuple[str, ...]) -> None:
        assert steps_of(self.sample(), text) == steps

    def test_are_numbered_from_one_and_counted_from_zero(self) -> None:
        assert numbered_steps(["a", "b"]) == "Step 1: a\n\nStep 2: b"
        assert [index_of(number) for number in (-2, -1, 0, 1, 2)] == [None, -1, None, 0, 1]
