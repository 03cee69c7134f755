"""How each benchmark's replies are read."""

from __future__ import annotations

from typing import Any

import pytest

from evaluators.critique import LOCATIONS, PAIR_POLICIES, POLICIES

SAID = [
    ("luo", "Judgment: correct. On reflection, Judgment: incorrect.", "wrong"),
    ("luo", "It looks correct to me.", None),
    ("luo", "Judgment: correct or incorrect.", None),
    ("luo", '"Judgment: correct" or "Judgment: incorrect"', None),
    ("luo", "Judgement: **incorrect**.", "wrong"),
    ("thu", "The step is wrong, yet [[correct]]", "correct"),
    ("thu", "Choose [[correct]] or [[wrong]]: this is not correct", "wrong"),
    ("thu", "This is correct.", "correct"),
    ("thu", "Hm.", None),
    ("realcritic", "## Critique\n...\n## Conclusion\nIncorrect, 3\n## Correction", "wrong"),
    ("realcritic", "## Conclusion\n**Correct** -1", "correct"),
    ("thu", '{"analysis": "nothing wrong", "verdict": "Correct"}', "correct"),
    ("thu", '{"analysis": "correct at first", "verdict": "not correct"}', "wrong"),
    ("realcritic", "It is correct.", None),
    ("realcritic", "## Conclusion\nThe solution is not correct.", "wrong"),
    ("realcritic", "## Conclusion\nThe solution is not entirely correct.", "wrong"),
    ("realcritic", "## Conclusion\nVerdict: Partially correct", None),
    ("realcritic", "## Conclusion\nMostly correct, but step 2 is incorrect.", None),
    ("realcritic_check", "\\boxed{Unqualified}", "wrong"),
    ("realcritic_check", "\\boxed{**Qualified.**}", "correct"),
    ("realcritic_check", "\\boxed{Qualified or Unqualified}", None),
    ("realcritic_check", "\\boxed{\\text{Qualified}}", "correct"),
    ("code_critic", '{"is_assistant_correct": "Incorrect"}', "wrong"),
    ("code_critic", '{"is_assistant_correct": "Correct"}', "correct"),
    ("code_critic", "nothing of the sort", None),
    ("redraft", "Verdict: correct", "correct"),
]


@pytest.mark.parametrize(("policy", "reply", "expected"), SAID)
def test_verdicts(policy: str, reply: str, expected: str | None) -> None:
    assert POLICIES[policy].read(reply) == expected


def test_unread_verdicts_follow_the_benchmarks() -> None:
    unread = {name: policy.unread for name, policy in POLICIES.items()}
    assert unread == {
        "redraft": "error", "luo": "correct", "thu": "error", "realcritic": "error",
        "realcritic_check": "wrong", "code_critic": "error", "left_out": "left_out",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "reply", "expected"),
    [
        ("judgebench", "My final verdict is [[A>>B]]", "first"),
        ("judgebench", "[[B>A]]", "second"),
        ("judgebench", "[[A<B]]", "second"),
        ("judgebench", "[[A=B]]", "tie"),
        ("judgebench", "[[A>B]] no, [[B>A]]", None),
        ("judgebench", "A is better", None),
        ("criticeval", "decision: C", "tie"),
        ("criticeval", "Decision: B", "second"),
        ("rewardbench", "[[A>B]]", "first"),
    ],
)
def test_choices(policy: str, reply: str, expected: str | None) -> None:
    assert PAIR_POLICIES[policy].read(reply) == expected


@pytest.mark.parametrize(
    ("benchmark", "reply", "expected"),
    [
        ("processbench", "\\boxed{2}, or \\boxed{-1}", -1),
        ("processbench", "paragraph 2", None),
        ("processbench", "\\boxed{-2}", None),
        ("bigbench", "No", -1),
        ("bigbench", "3", 2),
        ("bigbench", "Step 1.", 0),
        ("bigbench", "0", None),
        ("bigbench", "none", None),
    ],
)
def test_locations(benchmark: str, reply: str, expected: Any) -> None:
    assert LOCATIONS[benchmark](reply) == expected
