"""Estimates, trajectories, intervals, ranks, comparisons and the registry."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import numpy as np
import pytest
from scipy import stats

from evaluators import metrics
from evaluators.errors import AmbiguousName, BrokenPlugin, NotInstalled
from evaluators.metrics import (
    Cells,
    Estimate,
    Graded,
    Trajectory,
    clustered_se,
    compare,
    cvc_classification,
    cvc_generation,
    holm,
    interval_p,
    mcnemar,
    newcombe,
    ranks,
    significantly_better,
    wilson,
)
from evaluators.metrics.bootstrap import bootstrap
from evaluators.metrics.estimators import bootstrapped
from evaluators.model import (
    AnswerState,
    Failure,
    Grade,
    Node,
    Sample,
    SampleResult,
    Usage,
    user,
)


class TestEstimate:
    def test_round_trip(self) -> None:
        estimate = Estimate(1 / 3, 0.1, 0.7, 9, 10, 3, 9, 0.157, "wilson", "", 0.25)
        assert Estimate.from_json(json.loads(json.dumps(estimate.to_json()))) == estimate

    def test_ignores_what_a_later_version_adds(self) -> None:
        assert Estimate.from_json({"value": 1, "colour": "red"}) == Estimate(1)

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_refuses_what_json_cannot_say(self, bad: float) -> None:
        with pytest.raises(ValueError, match="not a number that can be shown"):
            Estimate(bad)
        with pytest.raises(ValueError, match="not a number that can be shown"):
            Estimate(1.0, low=bad)

    def test_refuses_null_without_a_reason(self) -> None:
        with pytest.raises(ValueError, match="needs a reason"):
            Estimate(None)


class TestTrajectory:
    sample = Sample("7", "sums", (user("1+1?"),), (user("1+1?"),), cluster="c")

    @staticmethod
    def _node(
        idx: int, parents: tuple[int, ...], usage: Usage | None, *, cached: bool = False
    ) -> Node:
        return Node(idx, "answer", "actor", 0, parents, (), "", None, None, usage, cached=cached)

    def test_keeps_what_metrics_need(self) -> None:
        nodes = (
            self._node(0, (), Usage(10, 3), cached=True),
            self._node(1, (0,), Usage(20, 4)),
            self._node(2, (0, 1), None),
            self._node(3, (2,), Usage(40, 5)),
        )
        grades = [Grade(False, 0.0, None, "2"), Grade(True, 1.0, "2", "2")]
        answers = (
            AnswerState(2, "?", truncated=True, grade=grades[0], changed=True),
            AnswerState(3, "2", truncated=False, grade=grades[1], changed=True),
        )
        found = Trajectory.from_result(SampleResult(self.sample, 1, "ok", answers, nodes))
        assert found == Trajectory(
            "7", (False, True), "sums", "c", 1, (False, True), (True, False), (False, True),
            calls=3, tokens_in=70, tokens_out=12, tokens_computed=9, tokens_first=7, calls_first=2,
        )  # fmt: skip

    @pytest.mark.parametrize("status", ["unscored", "infra_error"])
    def test_without_a_score(self, status: Any) -> None:
        failure = Failure("evaluator-crashed", "boom")
        found = Trajectory.from_result(SampleResult(self.sample, 0, status, failure=failure))
        assert not found.scored
        assert found.correct == ()
        assert found.tokens_first is None

    def test_equal_clusters_of_two_tasks_are_two(self) -> None:
        found = Graded([Trajectory("1", (True,), "a", "c"), Trajectory("1", (True,), "b", "c")])
        assert found.cluster_count == 2

    def test_is_a_sequence(self) -> None:
        one, two = Trajectory("1", (True,)), Trajectory("2", (True,))
        found = Graded([one, two])
        assert (found[0], found[:], list(found), len(found)) == (one, (one, two), [one, two], 2)
        assert Graded.of(found) is found


class TestIntervals:
    @pytest.mark.cases("intervals.json", lambda data: data["wilson"])
    def test_wilson_as_published(self, case: dict[str, Any]) -> None:
        low, high = wilson(case["successes"], case["n"])
        assert (round(low, 4), round(high, 4)) == (case["low"], case["high"])

    @pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (3, 7), (999, 1000), (1234, 10_000)])
    def test_wilson_as_scipy(self, k: int, n: int) -> None:
        expected = stats.binomtest(k, n).proportion_ci(method="wilson")
        assert wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-12)

    @pytest.mark.parametrize(("b", "c"), [(0, 1), (3, 9), (40, 40), (2000, 2200)])
    def test_mcnemar_as_scipy(self, b: int, c: int) -> None:
        assert mcnemar(b, c).p_exact == pytest.approx(stats.binomtest(b, b + c).pvalue, rel=1e-9)

    def test_newcombe_term_by_term(self) -> None:
        """Method 10 as printed, for cells 20, 12, 2, 16: 32/50 before, 22/50 after."""
        n, before, after = 50, 32, 22
        l1, u1 = wilson(before, n)
        l2, u2 = wilson(after, n)
        p1, p2 = before / n, after / n
        phi = (20 * 16 - 12 * 2 - n / 2) / (before * (n - before) * after * (n - after)) ** 0.5
        down = (p2 - l2) ** 2 - 2 * phi * (p2 - l2) * (u1 - p1) + (u1 - p1) ** 2
        up = (u2 - p2) ** 2 - 2 * phi * (u2 - p2) * (p1 - l1) + (p1 - l1) ** 2
        expected = (p2 - p1 - down**0.5, p2 - p1 + up**0.5)
        assert newcombe(Cells(20, 12, 2, 16)) == pytest.approx(expected, abs=1e-12)

    def test_newcombe_stays_within_bounds(self) -> None:
        assert newcombe(Cells(0, 0, 1, 0))[1] <= 1
        assert newcombe(Cells(0, 1, 0, 0))[0] >= -1

    def test_clustered_se_needs_two_clusters(self) -> None:
        assert clustered_se([1, 0, 1], ["a", "a", "a"]) is None

    def test_a_single_sample_per_cluster_is_the_ordinary_error(self) -> None:
        values = [1.0, 4.0, 2.0, 8.0]
        expected = float(stats.sem(values))
        assert clustered_se(values, "abcd") == pytest.approx(expected, rel=1e-12)


class TestBootstrap:
    def test_agrees_with_the_normal_interval_on_a_mean(self) -> None:
        values = np.random.default_rng(5).normal(3, 2, size=2000)
        totals = np.stack([values, np.ones(2000)], axis=1)
        found = bootstrap(totals, lambda sums: sums[:, 0] / sums[:, 1])
        assert found is not None
        se = values.std(ddof=1) / 2000**0.5
        assert found.se == pytest.approx(se, rel=0.05)
        assert found.low == pytest.approx(values.mean() - 1.96 * se, abs=0.15 * se)
        assert found.high == pytest.approx(values.mean() + 1.96 * se, abs=0.15 * se)
        assert found.dropped == 0

    def test_is_the_same_in_any_order(self) -> None:
        for kinds in (3, 1000):
            values = np.random.default_rng(6).integers(0, kinds, size=1000).astype(float)
            totals = np.stack([values, np.ones(1000)], axis=1)
            forwards = bootstrap(totals, lambda sums: sums[:, 0] / sums[:, 1])
            backwards = bootstrap(totals[::-1], lambda sums: sums[:, 0] / sums[:, 1])
            assert forwards == backwards

    def test_reports_the_share_of_null_resamples(self) -> None:
        totals = np.array([[1.0], [0.0], [0.0], [0.0]])
        found = bootstrap(totals, lambda sums: 1 / sums[:, 0])
        assert found is not None
        assert found.dropped == pytest.approx(0.75**4, abs=0.02)

    def test_has_nothing_to_say_without_values(self) -> None:
        assert bootstrap(np.ones((1, 1)), lambda sums: sums[:, 0]) is None
        assert bootstrap(np.zeros((9, 1)), lambda sums: sums[:, 0] / 0) is None

    def test_says_so(self) -> None:
        found = bootstrapped(Estimate(1.0), np.zeros((9, 1)), lambda sums: sums[:, 0] / 0)
        assert found.reason == "hardly any resample has a value"


class TestRanks:
    @staticmethod
    def _share(k: int, n: int) -> Estimate:
        return Estimate(k / n, *wilson(k, n), n=n, n_total=n, method="wilson")

    def test_ties_share_a_rank_and_missing_ones_have_none(self) -> None:
        entries = [
            self._share(50, 100),
            Estimate(None, reason="pending"),
            self._share(90, 100),
            self._share(88, 100),
            self._share(10, 100),
            Estimate(0.99, n=1, n_total=1, reason="one cluster has no interval"),
        ]
        assert ranks(entries) == [3, None, 1, 1, 4, None]
        assert ranks([]) == []

    def test_where_lower_is_better(self) -> None:
        entries = [self._share(50, 100), self._share(10, 100), self._share(90, 100)]
        assert ranks(entries, lower_is_better=True) == [2, 1, 3]

    def test_a_perfect_score_on_few_samples_beats_nobody_close(self) -> None:
        perfect, good = self._share(5, 5), self._share(90, 100)
        assert perfect.value == 1
        assert not significantly_better(perfect, good)
        assert ranks([perfect, good]) == [1, 1]

    def test_ranks_agree_with_the_pairwise_rule(self) -> None:
        entries = [self._share(k, 40) for k in (3, 9, 20, 22, 31, 40)]
        for lower in (False, True):
            expected = [
                1 + sum(significantly_better(o, e, lower_is_better=lower) for o in entries)
                for e in entries
            ]
            assert ranks(entries, lower_is_better=lower) == expected

    def test_without_an_interval_nothing_is_significant(self) -> None:
        known, bare = self._share(90, 100), Estimate(0.1, n=1, n_total=1)
        assert not significantly_better(known, bare)
        assert not significantly_better(Estimate(None, reason="pending"), known)

    @pytest.mark.cases("intervals.json", lambda data: data["holm"])
    def test_holm(self, case: dict[str, Any]) -> None:
        assert holm(case["p"]) == pytest.approx(case["adjusted"])

    @pytest.mark.parametrize(
        ("value", "low", "high", "p"),
        [
            (0.196, 0.0, 0.5, 0.05),  # the end towards 0 counts, on either side
            (-0.196, -0.5, 0.0, 0.05),
            (0.1, -0.1, 0.3, 2 * stats.norm.sf(1.959964 / 2)),
            (0.0, -0.2, 0.1, 1.0),
            (0.0, 0.0, 0.0, 1.0),
            (1.0, 1.0, 1.0, 0.0),
        ],
    )
    def test_an_interval_as_a_p_value(
        self, value: float, low: float, high: float, p: float
    ) -> None:
        assert interval_p(Estimate(value, low, high)) == pytest.approx(p)

    def test_no_interval_no_p_value(self) -> None:
        assert interval_p(Estimate(0.1)) is None
        assert interval_p(Estimate(None, reason="pending")) is None


class TestCompare:
    def test_pairs_samples_by_task_id_and_replicate(self) -> None:
        left = [Trajectory(str(i), (i < 5, i < 5)) for i in range(10)]
        right = [Trajectory(str(i), (i < 5, i < 9)) for i in reversed(range(12))]
        found = compare(left, right)
        assert (found.n, found.only_left, found.only_right) == (10, 0, 2)
        assert found.differences["acc@1"].value == 0
        assert found.differences["acc@last"].value == 0.4
        assert found.differences["delta"].value == pytest.approx(0.4)
        assert found.differences["delta"].method == "clustered t, paired"
        assert found.differences["CL"].value == 0
        assert found.differences["CS"].value == pytest.approx(0.8)
        assert (found.mcnemar.b, found.mcnemar.c) == (0, 4)
        assert found.correlation == pytest.approx(1 / 3)
        assert json.loads(json.dumps(found.to_json()))["n"] == 10

    def test_difference_in_rss(self) -> None:
        """acc1 is 1/2 on both sides; acc2 is 1/2 and 9/10: RSS is 1/2 and (.9 - .25) / .5."""
        left = [Trajectory(str(i), (i < 5, i < 5)) for i in range(10)]
        right = [Trajectory(str(i), (i < 5, i < 9)) for i in range(10)]
        assert compare(left, right).differences["RSS"].value == pytest.approx(1.3 - 0.5)

    def test_equal_gains_are_not_proved_equal_by_a_few_samples(self, from_cells: Any) -> None:
        """On no sample does one gain more, and 4 samples leave room for much."""
        one = from_cells(cc=2, ic=2)
        delta = compare(one, one).differences["delta"]
        assert (delta.value, delta.method) == (0, "newcombe, of both gains")
        assert delta.low is not None
        assert delta.high is not None
        assert delta.low < -0.5
        assert delta.high > 0.5

    def test_nothing_in_common(self) -> None:
        found = compare([Trajectory("a", (True,))], [Trajectory("b", (True,))])
        assert (found.n, found.only_left, found.only_right) == (0, 1, 1)
        assert found.differences["acc@1"].reason == "no sample was scored on both sides"
        assert found.mcnemar.p_exact == 1
        assert found.correlation is None

    def test_one_answer_on_one_side(self, from_cells: Any) -> None:
        two = from_cells(2, 2, 2, 2)
        one = [replace(t, correct=t.correct[:1]) for t in two]
        found = compare(one, two).differences
        assert found["acc@1"].value == 0
        assert found["CL"].reason == "one answer only: nothing to compare it with"

    def test_null_on_one_side(self, from_cells: Any) -> None:
        found = compare(from_cells(cc=4), from_cells(cc=2, ci=2)).differences
        assert found["CS"].reason == "null on one side"
        assert found["CL"].value == -0.5


class TestConfidenceAndCritique:
    def test_questions_weigh_the_same_however_many_pairs_are_left(self) -> None:
        found = cvc_generation([[(True, True)] * 9 + [(False, True)], [(True, False)]])
        assert found.acc1.value == pytest.approx((0.9 + 1) / 2)
        assert found.CL.value == pytest.approx(0.9 / 1.9)
        assert found.CS.value == pytest.approx(1)
        assert found.acc2.value == pytest.approx(0.5)
        assert found.CL.method == "cluster bootstrap"
        assert json.loads(json.dumps(found.to_json()))["CS"]["n"] == 2

    def test_null_rule(self) -> None:
        right = cvc_generation([[(True, True)], [(True, False)]])
        assert right.CS.reason == right.RSS.reason == "no answer was wrong at first"
        wrong = cvc_generation([[(False, True)], [(False, False)]])
        assert wrong.CL.reason == wrong.RSS.reason == "no answer was right at first"
        assert cvc_generation([]).acc1.reason == "no question was scored"

    def test_certain_first_labels_carry_no_weight(self) -> None:
        found = cvc_classification([0, 1], [[1.0, 0.0], [0.5, 0.5]], [[[0.5, 0.5], [0.5, 0.5]]] * 2)
        assert found.CS.value == pytest.approx(0.5)
        assert found.CL.value == pytest.approx(0.5)
        assert found.acc1.value == pytest.approx(0.75)

    def test_refuses_a_question_without_pairs(self) -> None:
        with pytest.raises(ValueError, match="without pairs"):
            cvc_generation([[]])

    @pytest.mark.parametrize(
        ("gold", "p1", "p2", "message"),
        [
            (2, [0.5, 0.5], [[0.5, 0.5]] * 2, "do not fit"),
            (0, [0.5, 0.5], [[0.5, 0.5]], "do not fit"),
            (0, [0.5, 0.5], [[1.0]] * 2, "do not fit"),
            (0, [0.5, 0.6], [[0.5, 0.5]] * 2, "not a distribution"),
            (0, [0.5, 0.5], [[1.5, -0.5]] * 2, "not a distribution"),
        ],
    )
    def test_refuses_what_is_no_distribution(
        self, gold: int, p1: Any, p2: Any, message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            cvc_classification([gold], [p1], [p2])


MINE = metrics.Metric("mine", "Mine", "One.", "higher", "fraction", "mine", lambda _: Estimate(1))


class TestRegistry:
    @staticmethod
    def _offer(monkeypatch: pytest.MonkeyPatch, **targets: str) -> None:
        """Stand in for installed packages: what importlib.metadata would find."""
        points = EntryPoints(
            EntryPoint(name, target, "redraft.metrics") for name, target in targets.items()
        )
        monkeypatch.setattr("evaluators.entry_points.entry_points", points.select)

    def test_bundled_metrics_explain_themselves(self) -> None:
        found = metrics.all_metrics()
        assert {"acc@1", "acc@last", "CL", "CS", "RSS", "calls", "unscored"} <= {
            m.name for m in found
        }
        for metric in found:
            assert metric.title
            assert metric.definition.endswith(".")
            assert metrics.get(metric.name) is metric

    def test_turns(self) -> None:
        assert metrics.get("truncated@12").name == "truncated@12"

    @pytest.mark.parametrize("name", ["acc@0", "acc@x", "acc@99999", "RSS@2", "cl"])
    def test_refuses_an_unknown_name(self, name: str) -> None:
        with pytest.raises(NotInstalled):
            metrics.get(name)

    def test_says_what_is_near(self) -> None:
        with pytest.raises(NotInstalled, match="Did you mean break_even"):
            metrics.get("brake_even")

    def test_offered_by_a_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "somebodys", _module(mine=MINE, other=MINE, text="x"))
        self._offer(monkeypatch, mine="somebodys:mine", broken="somebodys:nothing")
        assert metrics.get("mine") is MINE
        assert "mine" in metrics.names()
        assert [m.name for m in metrics.all_metrics() if m is MINE] == ["mine"]

    @pytest.mark.parametrize(
        ("name", "target", "reason"),
        [
            ("mine", "nowhere_at_all:mine", "ModuleNotFoundError"),
            ("mine", "somebodys:text", "is a str, not a Metric"),
            ("other", "somebodys:other", "calls itself 'mine'"),
        ],
    )
    def test_refuses_a_broken_package(
        self, monkeypatch: pytest.MonkeyPatch, name: str, target: str, reason: str
    ) -> None:
        monkeypatch.setitem(sys.modules, "somebodys", _module(mine=MINE, other=MINE, text="x"))
        self._offer(monkeypatch, **{name: target})
        with pytest.raises(BrokenPlugin, match=reason):
            metrics.get(name)

    def test_refuses_a_bundled_name_from_elsewhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._offer(monkeypatch, CL="somebodys:mine")
        with pytest.raises(AmbiguousName, match="redraft"):
            metrics.get("CL")


def _module(**names: object) -> Any:
    from types import ModuleType

    module = ModuleType("somebodys")
    vars(module).update(names)
    return module


def test_importing_metrics_loads_neither_numpy_nor_scipy() -> None:
    heavy = "{'numpy', 'scipy', 'pydantic'}"
    code = f"import sys, evaluators.metrics; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
