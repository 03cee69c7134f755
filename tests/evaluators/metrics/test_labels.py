"""CL, CS and RSS from label probabilities: the paper's classification estimator as metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from evaluators.metrics import Trajectory, cvc_classification, decompose, get, labels
from evaluators.metrics.labels import NO_LABELS
from evaluators.model import AnswerState, Grade, Sample, SampleResult, user

P1 = [0.6, 0.3, 0.1]
P2 = [[0.8, 0.1, 0.1], [0.5, 0.4, 0.1], [0.2, 0.2, 0.6]]
CLOSED_FORM = {
    "label_acc@1": 0.6, "label_acc@2": 0.65, "label_CL": 0.8, "label_CS": 0.425,
    "label_RSS": 0.604167,
}  # fmt: skip


def result(name: str = "0", *, gold: str = "A", **facts: Any) -> SampleResult:
    known = {"labels": ["A", "B", "C"], "p1": P1, "p2": P2, **facts}
    grade = Grade(True, 1.0, "A", gold)
    answers = tuple(AnswerState(node, "A", False, grade) for node in range(2))
    sample = Sample(name, "t", (user("?"),), (user("?"),))
    return SampleResult(sample, 0, "ok", answers=answers, facts=known)


def figures(trajectories: Sequence[Trajectory]) -> dict[str, float | None]:
    return {metric.name: metric.compute(trajectories).value for metric in labels}


def test_the_closed_form() -> None:
    found = figures([Trajectory.from_result(result())])
    assert found == pytest.approx(CLOSED_FORM, abs=1e-6)


def test_many_questions_agree_with_the_estimator() -> None:
    results = [result(str(n), gold="ABC"[n % 3]) for n in range(9)]
    found = figures([Trajectory.from_result(r) for r in results])
    direct = cvc_classification([n % 3 for n in range(9)], [P1] * 9, [P2] * 9)
    assert found == pytest.approx({
        "label_acc@1": direct.acc1.value, "label_acc@2": direct.acc2.value,
        "label_CL": direct.CL.value, "label_CS": direct.CS.value, "label_RSS": direct.RSS.value,
    })  # fmt: skip


def test_intervals_move_whole_clusters() -> None:
    trajectories = [
        Trajectory.from_result(
            result(str(n), gold="AB"[n % 2], p1=[0.5 + n / 40, 0.4 - n / 40, 0.1])
        )
        for n in range(12)
    ]

    def ends(found: Sequence[Trajectory]) -> tuple[float, float]:
        estimate = get("label_acc@1").compute(found)
        assert estimate.method == "cluster bootstrap"
        return estimate.low or 0.0, estimate.high or 0.0

    twice = [replace(t, replicate=1) for t in trajectories]
    others = [replace(t, id=f"{t.id}b") for t in trajectories]
    alone = ends(trajectories)
    assert ends([*trajectories, *twice]) == pytest.approx(alone)
    low, high = ends([*trajectories, *others])
    assert alone[0] < low < high < alone[1]


def test_gold_may_be_a_text_and_is_found_among_the_labels() -> None:
    facts = {"labels": [" yes", " no", " maybe"]}
    assert Trajectory.from_result(result(gold="no", **facts)).odds == pytest.approx(
        (0.3, 0.4, (0.6 * 0.1 + 0.1 * 0.2) / 0.7)
    )


@pytest.mark.parametrize(
    ("gold", "facts"),
    [
        ("D", {}),
        ("A | B", {}),
        ("A", {"labels": ["A", "A", "B"]}),
        ("A", {"p1": [0.9, 0.3, 0.1]}),
        ("A", {"p2": [[1.0]]}),
        ("A", {"p1": "sure"}),
        ("A", {"p2": None}),
    ],
    ids=["no-gold", "two-golds", "twins", "no-distribution", "too-few", "text", "nothing"],
)
def test_what_does_not_fit_has_no_odds(gold: str, facts: dict[str, Any]) -> None:
    assert Trajectory.from_result(result()).odds is not None
    assert Trajectory.from_result(result(gold=gold, **facts)).odds is None


def test_nothing_recorded_is_null_with_its_reason() -> None:
    bare = replace(Trajectory.from_result(result()), odds=None)
    for metric in labels:
        estimate = metric.compute([bare])
        assert (estimate.value, estimate.reason, estimate.n_total) == (None, NO_LABELS, 1)


def test_they_stand_beside_the_decomposition_of_the_answers() -> None:
    found = decompose([Trajectory.from_result(result())], metrics=labels).estimates
    assert found["CL"].value == 1.0
    assert found["label_CL"].value == pytest.approx(0.8)
