"""Performance, gain and cost beside each other, and what is weighed up against what."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.metrics import (
    Standing,
    Trajectory,
    decompose,
    get,
    pareto_front,
    perf_gain_cost,
    weighed,
)


def spent(*tokens: tuple[int, int]) -> list[Trajectory]:
    """Return trajectories, all mended, by the tokens of the first answer and of all."""
    return [
        Trajectory(str(i), (False, True), tokens_first=first, tokens_out=total)
        for i, (first, total) in enumerate(tokens)
    ]


class TestMetrics:
    def test_are_found_by_name(self) -> None:
        assert [get(metric.name) for metric in perf_gain_cost] == list(perf_gain_cost)
        assert [metric.name for metric in perf_gain_cost] == ["perf", "gain", "cost"]

    def test_stand_in_the_document(self) -> None:
        text = (Path(__file__).parents[3] / "docs/statistics.md").read_text(encoding="utf-8")
        names = ", ".join(f"`{metric.name}`" for metric in perf_gain_cost)
        assert f"| {names} |" in text

    def test_performance_and_gain_are_those_of_the_decomposition(self) -> None:
        pairs = [(False, True)] * 5 + [(True, False)] * 2 + [(True, True)] * 13
        trajectories = [Trajectory(str(i), pair) for i, pair in enumerate(pairs)]
        found = decompose(trajectories, metrics=perf_gain_cost)
        assert found["perf"] == found["acc@last"]
        assert found["gain"] == found["delta"]
        assert found["gain"].value == 3 / 20

    def test_they_stand_beside_a_run_only_where_asked_for(self) -> None:
        assert not {"perf", "gain", "cost"} & decompose(spent((1, 2))).estimates.keys()


class TestCost:
    def test_is_a_ratio_of_totals_with_its_interval(self) -> None:
        found = get("cost").compute(spent((100, 300), (50, 60), (50, 40)))
        assert (found.value, found.numerator, found.denominator, found.n) == (2, 400, 200, 3)
        assert found.method == "cluster bootstrap"
        assert found.has_interval
        assert found.low <= 2 <= found.high  # type: ignore[operator]  # has an interval

    def test_of_a_single_answer_is_one(self) -> None:
        alone = [Trajectory(str(i), (True,), tokens_first=9, tokens_out=9) for i in range(4)]
        assert get("cost").compute(alone).value == 1
        assert get("gain").compute(alone).value is None

    @pytest.mark.parametrize(
        ("trajectories", "reason"),
        [
            ([], "no sample was scored"),
            ([Trajectory("1", (True, True))], "tokens of the first answer not recorded"),
            (spent((0, 0), (0, 5)), "the first answers took no generated tokens"),
        ],
        ids=["nothing scored", "nothing recorded", "nothing generated"],
    )
    def test_is_null_with_its_reason(self, trajectories: list[Trajectory], reason: str) -> None:
        found = get("cost").compute(trajectories)
        assert (found.value, found.reason) == (None, reason)


GREEDY = Standing("greedy", perf=0.6, gain=0.0, cost=1)
REFINED = Standing("refined", perf=0.64, gain=0.04, cost=3)
DEARER = Standing("dearer", perf=0.64, gain=0.04, cost=5)
WORSE = Standing("worse", perf=0.5, gain=-0.1, cost=3)


class TestWeighingUp:
    def test_the_front_keeps_what_nothing_dominates(self) -> None:
        standings = [WORSE, DEARER, GREEDY, REFINED]
        assert pareto_front(standings) == [GREEDY, REFINED]
        assert pareto_front([]) == []

    def test_equals_do_not_dominate_each_other(self) -> None:
        twin = Standing("twin", perf=0.64, gain=0.04, cost=3)
        assert pareto_front([REFINED, twin, DEARER]) == [REFINED, twin]

    def test_the_score_takes_off_a_price_for_every_doubling(self) -> None:
        twice = Standing("twice", perf=0.7, gain=0.1, cost=8)
        assert weighed(twice) == pytest.approx(0.8)
        assert weighed(twice, perf=1, gain=0, cost=0.05) == pytest.approx(0.7 - 3 * 0.05)
        assert weighed(GREEDY, gain=5, cost=9) == pytest.approx(0.6)

    @pytest.mark.parametrize("cost", [0, -1, math.nan, math.inf])
    def test_refuses_a_cost_that_cannot_be_weighed(self, cost: float) -> None:
        with pytest.raises(ValueError, match="refined: perf, gain and a cost above 0"):
            Standing("refined", perf=0.6, gain=0.1, cost=cost)

    @given(
        st.lists(
            st.builds(
                Standing,
                st.just("x"),
                st.sampled_from([0.2, 0.5, 0.8]),
                st.sampled_from([-0.1, 0.0, 0.1]),
                st.sampled_from([1.0, 2.0, 3.0]),
            ),
            min_size=1,
            max_size=8,
        )
    )
    def test_the_best_by_positive_weights_is_always_on_the_front(
        self, standings: list[Standing]
    ) -> None:
        best = max(standings, key=lambda one: weighed(one, perf=1, gain=0.5, cost=0.01))
        assert best in pareto_front(standings)
