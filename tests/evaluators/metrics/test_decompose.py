"""Whole decompositions: golden cases, costs, states, flags and refusals."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from evaluators.metrics import (
    Cells,
    Decomposition,
    Estimate,
    Metric,
    Trajectory,
    decompose,
    get,
    macro,
)
from evaluators.metrics.decompose import check_identities


@pytest.mark.cases("decompositions.json", lambda data: data)
def test_golden(case: dict[str, Any], from_cells: Any) -> None:
    found = decompose(from_cells(**case["cells"]))
    assert found.cells == Cells(**case["cells"])
    for name, expected in case["expected"].items():
        value = None if expected is None else float(Fraction(expected))
        assert found[name].value == value, name
    for name, reason in case.get("reasons", {}).items():
        assert found[name].reason == reason, name
    assert found.significance.p == pytest.approx(case["p"], rel=1e-12)
    assert list(found.flags) == case["flags"]


def _costly(index: int, first: bool, last: bool, *, spent: int = 30) -> Trajectory:
    return Trajectory(
        str(index),
        (first, last),
        parsed=(True, index % 4 > 0),
        truncated=(index % 5 == 0, False),
        changed=(False, first != last or index % 2 == 0),
        calls=2,
        tokens_in=100,
        tokens_out=spent,
        tokens_computed=spent - 10,
        tokens_first=10,
    )


def _costly_run(spent: int = 30) -> list[Trajectory]:
    pairs = [(True, True)] * 8 + [(True, False)] * 2 + [(False, True)] * 7 + [(False, False)] * 3
    return [_costly(i, *pair, spent=spent + i) for i, pair in enumerate(pairs)]


class TestStates:
    def test_wrong_to_wrong_splits_into_changed_and_unchanged(self) -> None:
        found = decompose(_costly_run())
        assert found["n_ii"].value == 3
        assert found["i2i_changed_all"].numerator == 1
        assert found["i2i_unchanged_all"].numerator == 2
        assert found["change_rate"].numerator == 4 + 9 + 1

    def test_unparsed_and_truncated_are_counted_by_turn(self) -> None:
        found = decompose(_costly_run())
        assert found["parse_fail@1"].value == 0
        assert found["parse_fail@last"].value == found["parse_fail@2"].value == 5 / 20
        assert found["truncated@1"].value == 4 / 20
        assert found["truncated@last"].value == 0

    def test_states_that_nobody_recorded_are_null(self, from_cells: Any) -> None:
        found = decompose(from_cells(cc=3, ii=3))
        for name in ("parse_fail@1", "truncated@last", "change_rate", "i2i_changed_all"):
            assert found[name].value is None
            assert found[name].reason.endswith("not recorded")

    def test_a_later_change_counts_once(self) -> None:
        back_and_forth = Trajectory(
            "a", (False, False, False), changed=(False, True, True), parsed=(True,) * 3
        )
        found = decompose([back_and_forth])
        assert found["change_rate"].value == 1
        assert found["i2i_changed_all"].value == 1

    def test_every_sample_truncated(self) -> None:
        found = decompose(
            Trajectory(str(i), (False, False), parsed=(False,) * 2, truncated=(True,) * 2)
            for i in range(5)
        )
        assert found["truncated@last"].value == found["parse_fail@last"].value == 1
        assert found["CL"].value is None
        assert found["CS"].value == 0


class TestCosts:
    def test_means_with_a_clustered_t(self) -> None:
        found = decompose(_costly_run())
        assert found["calls"].value == found["calls"].low == found["calls"].high == 2
        tokens = found["tokens_out"]
        assert (tokens.value, tokens.method) == (39.5, "clustered t")
        assert tokens.se == pytest.approx((35 / 20) ** 0.5), "variance of 0..19 is 35"
        assert tokens.high == pytest.approx(39.5 + 2.0930240544 * (35 / 20) ** 0.5)
        assert found["extra_tokens"].value == 29.5
        assert found["tokens_computed"].value == 29.5

    def test_tokens_per_net_fix(self) -> None:
        found = decompose(_costly_run() * 5)
        estimate = found["tokens_per_net_fix"]
        assert (estimate.value, estimate.numerator, estimate.denominator) == (118, 2950, 25)

    def test_a_clear_balance_has_an_interval(self) -> None:
        pairs = [(False, True)] * 20 + [(True, True)] * 10
        estimate = decompose(_costly(i, *p, spent=30 + i) for i, p in enumerate(pairs))[
            "tokens_per_net_fix"
        ]
        assert estimate.value == (30 * 20 + sum(range(30))) / 20
        assert estimate.low is not None
        assert estimate.high is not None
        assert 30 < estimate.low < estimate.value < estimate.high < 90

    def test_withholds_the_interval_when_net_fixes_may_be_none(self) -> None:
        pairs = [(True, False)] * 5 + [(False, True)] * 6 + [(True, True)] * 9
        estimate = decompose(_costly(i, *p, spent=30 + i) for i, p in enumerate(pairs))[
            "tokens_per_net_fix"
        ]
        assert estimate.value == 590
        assert not estimate.has_interval
        assert estimate.dropped > 0.05
        assert estimate.reason == "the net number of fixes is not clearly above 0"

    def test_no_net_fix_has_no_price(self) -> None:
        pairs = [(True, False), (False, True), (True, True)]
        estimate = decompose(_costly(i, *p) for i, p in enumerate(pairs))["tokens_per_net_fix"]
        assert estimate.value is None
        assert estimate.reason == "no more answers were fixed than spoilt"

    def test_costs_that_nobody_recorded_are_null(self, from_cells: Any) -> None:
        found = decompose(from_cells(ic=3))
        for name in ("calls", "tokens_in", "extra_tokens", "tokens_per_net_fix"):
            assert found[name].value is None
            assert "not recorded" in found[name].reason


class TestShape:
    def test_nothing_at_all(self) -> None:
        found = decompose([])
        assert (found.task, found.n, found.n_total, found.turns) == ("", 0, 0, 0)
        assert found.cells is None
        assert found.mcnemar is None
        assert found.significance.p is None
        assert {e.value for e in found.estimates.values()} == {None}
        assert found["unscored"].reason == "no sample was asked for"

    def test_nothing_scored(self) -> None:
        found = decompose([Trajectory("a", (), scored=False)] * 3, total=4)
        assert (found.n, found.n_total, found.flags) == (0, 4, ("unscored_samples",))
        assert found["acc@1"].reason == "no sample was scored"
        assert found["unscored"].value == 1

    def test_one_answer_has_nothing_to_compare(self) -> None:
        found = decompose([Trajectory("a", (True,)), Trajectory("b", (False,))])
        assert found["acc@1"].value == found["acc@last"].value == 0.5
        assert found["CL"].reason == "one answer only: nothing to compare it with"
        assert found.cells is None
        assert found.steps == ()

    def test_steps_and_metrics_of_every_turn(self) -> None:
        answers = [(True, False, True), (False, True), (False, False, True)]
        found = decompose(Trajectory(str(i), a) for i, a in enumerate(answers))
        assert found.steps == (Cells(0, 1, 1, 1), Cells(1, 0, 2, 0))
        assert found.cells == Cells(1, 0, 2, 0)
        assert [found[f"acc@{t}"].value for t in (1, 2, 3)] == [1 / 3, 1 / 3, 1]
        assert found["delta@2"].value == 0
        assert found["CL@2"].value == 0
        assert found["CS@2"].value == 0.5
        assert found["CS@3"] == found["CS"]

    def test_json_names_everything(self, from_cells: Any) -> None:
        data = decompose(from_cells(3, 1, 2, 4, task="sums")).to_json()
        assert list(data) == [
            "task", "n", "n_total", "clusters", "turns", "cells", "steps", "estimates", "mcnemar",
            "significance", "flags",
        ]  # fmt: skip
        assert data["cells"] == {"cc": 3, "ci": 1, "ic": 2, "ii": 4}
        assert data["significance"] == {"p": 1.0, "test": "mcnemar exact"}
        assert decompose([]).to_json()["cells"] is None

    def test_questions_asked_several_times_are_clusters(self, from_cells: Any) -> None:
        found = decompose(from_cells(9, 6, 9, 6, per_question=3))
        assert found.clusters == 10
        assert "repeated_samples" in found.flags
        assert found["acc@1"].method == "cluster bootstrap"
        assert found["delta"].method == "clustered t, paired"
        assert found.significance.test == "clustered t, paired"

    def test_questions_without_any_spread_fall_back_on_their_number(self, from_cells: Any) -> None:
        found = decompose(from_cells(cc=30, per_question=3))
        assert found["CL"].value == 1
        assert found["CL"].method == "wilson over clusters"
        assert found["CL"].low == pytest.approx(0.7225, abs=6e-5), "Wilson of 10 of 10"
        assert found["delta"].method == "newcombe paired over clusters"
        assert found.significance.p == 1

    def test_one_cluster_has_hardly_an_interval(self, from_cells: Any) -> None:
        found = decompose(from_cells(cc=2, ic=2, per_question=4, calls=2))
        assert found["acc@1"].low is not None
        assert found["acc@1"].low < 0.1
        assert found["calls"].reason == "one cluster has no interval"
        assert found.significance.p is None

    @pytest.mark.parametrize(("questions", "p"), [(2, 0.5), (4, 0.125), (10, 2**-9)])
    def test_questions_that_all_gain_alike_may_do_so_by_chance(
        self, questions: int, p: float, from_cells: Any
    ) -> None:
        """As likely as that all their signs agree, whatever each question gains."""
        wholly = decompose(from_cells(ic=2 * questions, per_question=2))
        in_part = decompose(
            Trajectory(f"q{i}", (False, draw == 0), replicate=draw)
            for i in range(questions)
            for draw in range(3)
        )
        for found in (wholly, in_part):
            assert found.significance.p == p
            assert found["delta"].method == "newcombe paired over clusters"

    def test_equal_resamples_leave_the_interval_to_delta(self, from_cells: Any) -> None:
        rss = decompose(from_cells(cc=50, ii=50))["RSS"]
        assert rss.value == 0.5
        assert rss.method == "newcombe paired, of delta"
        assert rss.low is not None
        assert rss.high is not None
        assert rss.low < 0.5 < rss.high

    def test_refuses_several_tasks(self) -> None:
        with pytest.raises(ValueError, match="several tasks: a, b"):
            decompose([Trajectory("1", (True,), "a"), Trajectory("1", (True,), "b")])


class TestForeignMetrics:
    @staticmethod
    def _metric(compute: Any) -> Metric:
        return Metric("mine", "Mine", "One.", "higher", "fraction", "mine", compute)

    def test_is_computed_beside_the_bundled_ones(self, from_cells: Any) -> None:
        metric = self._metric(lambda found: Estimate(len(found), n=2, n_total=2))
        assert decompose(from_cells(cc=2), metrics=[metric])["mine"].value == 2

    def test_an_exception_is_its_reason(self, from_cells: Any) -> None:
        metric = self._metric(lambda found: 1 / 0)
        found = decompose(from_cells(cc=2), metrics=[metric])
        assert found["mine"].reason == "mine raised ZeroDivisionError: division by zero"
        assert found["acc@1"].value == 1

    def test_a_bare_number_is_no_estimate(self, from_cells: Any) -> None:
        metric = self._metric(lambda found: 1.0)
        assert decompose(from_cells(cc=2), metrics=[metric])["mine"].reason == (
            "mine returned no estimate"
        )


class TestIdentities:
    def test_refuses_figures_that_do_not_fit_the_cells(self, from_cells: Any) -> None:
        found = decompose(from_cells(3, 1, 2, 4))
        with pytest.raises(ArithmeticError, match="cells add up"):
            check_identities(Cells(4, 0, 2, 4), found.estimates)

    def test_refuses_a_value_that_is_not_its_quotient(self, from_cells: Any) -> None:
        found = decompose(from_cells(3, 1, 2, 4))
        wrong = Estimate(0.7, n=10, n_total=10, numerator=3, denominator=4)
        with pytest.raises(ArithmeticError, match=r"0\.7 is not 3/4"):
            check_identities(Cells(3, 1, 2, 4), {**found.estimates, "CL": wrong})

    def test_refuses_a_missing_share(self, from_cells: Any) -> None:
        found = decompose(from_cells(3, 1, 2, 4))
        lost = {**found.estimates, "acc@1": Estimate(None, reason="lost")}
        with pytest.raises(ArithmeticError, match="is null"):
            check_identities(Cells(3, 1, 2, 4), lost)

    @pytest.mark.parametrize("name", ["delta", "CL", "CS", "i2c_all", "RSS"])
    def test_refuses_one_that_disagrees_with_the_others(self, name: str, from_cells: Any) -> None:
        found = decompose(from_cells(3, 1, 2, 4))
        other = decompose(from_cells(1, 3, 5, 1))
        with pytest.raises(ArithmeticError, match="identity broken"):
            check_identities(Cells(3, 1, 2, 4), {**found.estimates, name: other[name]})


class TestMacro:
    @staticmethod
    def _tasks(from_cells: Any) -> dict[str, Decomposition]:
        cells = {"a": (30, 10, 20, 40), "b": (60, 0, 0, 0), "c": (10, 10, 10, 10)}
        return {task: decompose(from_cells(*c, task=task)) for task, c in cells.items()}

    def test_every_task_weighs_the_same(self, from_cells: Any) -> None:
        tasks = self._tasks(from_cells)
        found = macro(tasks)["acc@1"]
        assert found.value == pytest.approx((0.4 + 1 + 0.5) / 3)
        ses = [tasks[name]["acc@1"].se or 0.0 for name in "abc"]
        assert found.se == pytest.approx(sum(se**2 for se in ses) ** 0.5 / 3)
        assert (found.n, found.n_total, found.method) == (200, 200, "macro")
        assert found.reason == ""

    def test_null_tasks_are_left_out_and_named(self, from_cells: Any) -> None:
        found = macro(list(self._tasks(from_cells).values()))["CS"]
        assert found.value == pytest.approx((1 / 3 + 1 / 2) / 2)
        assert found.reason == "1 of 3 tasks left out: b"
        assert (found.n, found.n_total) == (140, 200)

    def test_null_in_every_task_is_null(self, from_cells: Any) -> None:
        found = macro([decompose(from_cells(cc=5, task="a"))])["CS"]
        assert found.value is None
        assert found.reason == "null in every task: no answer was wrong at first"

    def test_counts_are_not_averaged(self, from_cells: Any) -> None:
        assert "n_ic" not in macro(self._tasks(from_cells))

    def test_a_perfect_task_still_has_its_doubt(self, from_cells: Any) -> None:
        found = macro([decompose(from_cells(cc=10, task=t)) for t in "ab"])["acc@1"]
        assert found.se == 0
        assert found.low == pytest.approx(1 - (1 - 0.7225) / 2**0.5, abs=6e-5)

    def test_an_interval_is_missing_where_a_task_has_none(self, from_cells: Any) -> None:
        sure = decompose(from_cells(cc=4, task="a", calls=2))
        alone = decompose(from_cells(cc=1, task="b", calls=4))
        found = macro([sure, alone])["calls"]
        assert (found.value, found.low, found.se) == (3, None, None)


def test_unknown_turns_are_metrics_too(from_cells: Any) -> None:
    assert get("acc@3").compute(from_cells(cc=1, ci=1)).value == 0.5
