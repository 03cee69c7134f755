"""A method beside a control: the same samples on both sides, and both prices."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from evaluators.controls import (
    ControlComparison,
    PlannedControl,
    compare_control,
    corrected,
    macro_differences,
)
from evaluators.evaluator import Control
from evaluators.metrics import Trajectory, mcnemar

VOTE = PlannedControl("sc_calls", "self_consistency", {"samples": 3})


def results(
    *right: bool | None, calls: int = 3, tokens: int = 30, task: str = "sums"
) -> list[Trajectory]:
    """Return a trajectory per last answer; None is a sample without a score."""
    return [
        Trajectory(
            str(i), () if last is None else (False, last), task=task, calls=calls, tokens_in=100,
            tokens_out=tokens, tokens_computed=0, tokens_first=10, scored=last is not None,
        )
        for i, last in enumerate(right)
    ]  # fmt: skip


class TestOneTask:
    method = results(*[True] * 5, *[False] * 3, calls=3, tokens=33)
    vote = results(*[False] * 4, *[True] * 2, *[False] * 2, calls=3, tokens=30)

    def test_pairs_last_answers(self) -> None:
        found = compare_control(VOTE, self.method, self.vote)
        difference = found.difference
        assert difference.value == 5 / 8 - 2 / 8
        assert difference.method == "newcombe paired"
        assert difference.low is not None
        assert difference.high is not None
        assert difference.low < 3 / 8 < difference.high
        assert found.significance.test == "mcnemar exact"
        assert found.significance.p == mcnemar(1, 4).p_exact

    def test_tells_both_sides_accuracy_and_cost(self) -> None:
        found = compare_control(VOTE, self.method, self.vote)
        sides = found.of_method, found.of_control
        assert [side("acc").value for side in sides] == [5 / 8, 2 / 8]
        assert [side("acc").denominator for side in sides] == [8, 8]
        assert [side("calls").value for side in sides] == [3, 3]
        assert [side("tokens_out").value for side in sides] == [33, 30]
        assert [side("tokens_computed").value for side in sides] == [0, 0]

    @pytest.mark.parametrize(
        ("kind", "matched"), [("sc_calls", 1.0), ("sc_tokens", 30 / 33), ("greedy", None)]
    )
    def test_tells_how_far_compute_was_really_matched(
        self, kind: Control, matched: float | None
    ) -> None:
        found = compare_control(replace(VOTE, kind=kind), self.method, self.vote)
        assert found.matched == (None if matched is None else pytest.approx(matched))
        assert found.to_json()["matched"] == found.matched

    def test_leaves_out_what_one_side_did_not_score(self) -> None:
        found = compare_control(VOTE, results(True, None, True, True), results(True, True, None))
        assert (found.paired.n, found.paired.n_total) == (1, 4)
        assert found.of_method("acc").n == found.of_control("acc").n == 1

    def test_nothing_in_common_is_null(self) -> None:
        found = compare_control(VOTE, results(True), results(None))
        assert found.difference.reason == "no sample was scored on both sides"
        assert found.significance.p is None

    def test_replicates_are_clustered(self) -> None:
        twice = [
            Trajectory(str(i), (right,), replicate=r, calls=1)
            for i, right in enumerate([True, False, True])
            for r in (0, 1)
        ]
        found = compare_control(VOTE, twice, [*twice[:-1], Trajectory("2", (False,), replicate=1)])
        assert found.paired.n == 6
        assert found.significance.test == "clustered t, paired"

    def test_a_missing_control_says_why_and_leaves_the_method_its_figures(self) -> None:
        missing = PlannedControl("best_of_n", reason="nobody can rate")
        found = compare_control(missing, self.method, ())
        assert (found.difference.value, found.difference.reason) == (None, "nobody can rate")
        assert found.of_method("acc").value == 5 / 8
        assert found.of_control("acc").reason == "nobody can rate"
        assert found.significance.p is None

    @pytest.mark.parametrize(
        "control", [VOTE, PlannedControl("best_of_n", reason="nobody can rate")]
    )
    def test_is_restored_exactly(self, control: PlannedControl) -> None:
        found = compare_control(control, self.method, self.vote)
        assert ControlComparison.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_p_values_are_corrected_for_the_number_of_runs_not_of_kinds() -> None:
    method, weak = results(*[True] * 8), results(*[False] * 8)
    greedy = PlannedControl("greedy", "single_pass")
    tokens = replace(VOTE, kind="sc_tokens")
    missing = PlannedControl("best_of_n", reason="nobody can rate")
    found = [
        compare_control(control, method, weak if control is not greedy else method)
        for control in (greedy, VOTE, tokens)
    ]
    p = mcnemar(0, 8).p_exact
    assert corrected([*found, compare_control(missing, method, ())]) == [1, 2 * p, 2 * p, None]


class TestOverTasks:
    def test_each_task_weighs_the_same_and_errors_add_in_squares(self) -> None:
        by_task = {
            "sums": [compare_control(VOTE, results(*[True] * 40), results(*[False] * 40))],
            "words": [
                compare_control(
                    VOTE,
                    results(*[True] * 6, *[False] * 4, task="words"),
                    results(*[True] * 4, *[False] * 6, task="words"),
                )
            ],
        }
        macro = macro_differences(by_task)["sc_calls"]
        ses = [one.difference.se or 0.0 for (one,) in by_task.values()]
        assert macro.value == pytest.approx((1 + 0.2) / 2)
        assert macro.se == pytest.approx(math.sqrt(sum(se**2 for se in ses)) / 2)
        assert macro.method == "macro"
        assert macro.n == 50

    def test_names_the_tasks_without_the_control(self) -> None:
        missing = PlannedControl("sc_calls", reason="the method makes one call")
        by_task = {
            "sums": [compare_control(VOTE, results(True, True), results(True, False))],
            "words": [compare_control(missing, results(True), ())],
        }
        macro = macro_differences(by_task)["sc_calls"]
        assert macro.value == 0.5
        assert macro.reason == "1 of 2 tasks left out: words"
