"""Gains per cost, excess over independent draws, small-sample tests and planning."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evaluators.metrics import (
    Trajectory,
    benjamini_hochberg,
    decompose,
    get,
    holm,
    jeffreys,
    planned_effect,
    questions_needed,
    sign_flip_p,
    step_labels,
)
from evaluators.model import (
    AnswerState,
    Grade,
    Node,
    NodeKind,
    Sample,
    SampleResult,
    Usage,
    user,
)


def paid(pairs: list[tuple[bool, bool]], *, calls: int = 3, extra: int = 500) -> list[Trajectory]:
    return [
        Trajectory(str(i), pair, calls=calls, tokens_out=100 + extra, tokens_first=100)
        for i, pair in enumerate(pairs)
    ]


def two_calls(name: str, first: str) -> SampleResult:
    """Return a sample fixed at last in two calls, its first answer being `first`."""
    spent = Usage(10, 5)

    def node(idx: int, kind: NodeKind, usage: Usage | None, *parents: int) -> Node:
        return Node(idx, kind, "actor", 0, parents, (), "", None, None, usage)

    asked, again = node(0, "answer", spent), node(1, "answer", spent, 0)
    nodes, at = {
        "given": ((node(0, "given", None), node(1, "critique", spent, 0),
                   node(2, "answer", spent, 1)), (0, 2)),
        "reply": ((asked, again), (0, 1)),
        "vote": ((asked, node(1, "answer", spent), node(2, "vote", None, 0, 1)), (2, 2)),
    }[first]  # fmt: skip
    answers = tuple(
        AnswerState(idx, str(right), False, Grade(right, float(right), str(right), "True"))
        for idx, right in zip(at, (False, True), strict=True)
    )
    sample = Sample(name, "t", (user("?"),), (user("?"),))
    return SampleResult(sample, 0, "ok", answers=answers, nodes=nodes)


class TestGains:
    pairs = [(False, True)] * 12 + [(True, False)] * 2 + [(True, True)] * 26

    def test_per_call_and_per_thousand_tokens(self) -> None:
        found = decompose(paid(self.pairs))
        per_call, per_tokens = found["gain_per_call"], found["gain_per_1k_tokens"]
        assert (per_call.value, per_call.numerator, per_call.denominator) == (10 / 80, 10, 80)
        assert per_tokens.value == pytest.approx(10 / 20)
        assert per_call.method == per_tokens.method == "cluster bootstrap"
        assert found["calls_per_net_fix"].value == 8

    def test_a_loss_has_a_negative_price_and_no_net_fix(self) -> None:
        found = decompose(paid([(after, before) for before, after in self.pairs]))
        assert found["gain_per_call"].value == -10 / 80
        assert found["calls_per_net_fix"].reason == "no more answers were fixed than spoilt"

    def test_withholds_the_interval_where_fixes_may_be_none(self) -> None:
        found = decompose(paid([(False, True)] * 6 + [(True, False)] * 5 + [(True, True)] * 9))
        assert found["calls_per_net_fix"].value == 40
        assert found["calls_per_net_fix"].reason.startswith("the net number of fixes")

    @pytest.mark.parametrize(
        ("made_of", "extra"), [("given", 2), ("reply", 1), ("vote", 0)], ids=str
    )
    def test_calls_of_the_first_answer_are_no_extra_ones(self, made_of: str, extra: int) -> None:
        """Two calls: both after a given solution, one after a reply, none after a vote of two."""
        run = [Trajectory.from_result(two_calls(str(i), made_of)) for i in range(3)]
        assert [t.calls for t in run] == [2, 2, 2]
        found = decompose(run)
        if extra:
            assert found["gain_per_call"].value == 1 / extra
            assert found["calls_per_net_fix"].value == extra
            return
        for name in ("gain_per_call", "calls_per_net_fix", "tokens_per_net_fix"):
            assert found[name].value is None
            assert found[name].reason == "nothing was spent beyond the first answer"

    def test_null_rule(self) -> None:
        plain = decompose([Trajectory("1", (True, True)), Trajectory("2", (False, True))])
        assert plain["gain_per_call"].reason == "calls not recorded"
        assert plain["gain_per_1k_tokens"].reason == "tokens of the first answer not recorded"
        free = decompose(paid([(True, True)] * 3, calls=1, extra=0))
        assert free["gain_per_call"].reason == "nothing was spent beyond the first answer"
        assert decompose([])["gain_per_call"].reason == "no sample was scored"
        alone = decompose([Trajectory("1", (True,), calls=1)])
        assert alone["gain_per_call"].reason.startswith("one answer only")


def drawn(rows: list[list[tuple[bool, bool]]]) -> list[Trajectory]:
    return [
        Trajectory(f"q{i}", pair, replicate=k)
        for i, pairs in enumerate(rows)
        for k, pair in enumerate(pairs)
    ]


class TestExcess:
    def test_by_hand(self) -> None:
        """q0: c = 2 of K = 4, so K P^2 is 2 * 1 / 3, K P(1-P) is 2 * 2 / 3; q1: c = 4 of 4."""
        q0 = [(True, True), (True, True), (False, False), (False, True)]
        q1 = [(True, True)] * 3 + [(True, False)]
        found = decompose(drawn([q0, q1]))
        assert found["CL_excess"].value == pytest.approx(5 / 6 - (2 / 3 + 4) / 6)
        assert found["CS_excess"].value == pytest.approx(1 / 2 - (4 / 3) / 2)
        assert found["CL_excess"].n == 8

    def test_an_independent_second_draw_has_none(self) -> None:
        rng = np.random.default_rng(4)
        ease = rng.beta(2, 2, size=3000)
        rows = [
            [(bool(a), bool(b)) for a, b in zip(rng.random(4) < p, rng.random(4) < p, strict=True)]
            for p in ease
        ]
        trajectories = drawn(rows)
        for name in ("CL_excess", "CS_excess"):
            found = get(name).compute(trajectories)
            assert found.low is not None
            assert found.high is not None
            assert found.low < 0 < found.high
            assert abs(found.value or 0) < 0.02
        plain = decompose(trajectories)
        assert plain["CL"].value is not None
        assert plain["CL"].value > 0.57, "while CL itself looks like skill: E[P^2] / E[P] is 0.6"

    def test_needs_questions_asked_twice(self, from_cells: Any) -> None:
        found = decompose(from_cells(2, 2, 2, 2))
        assert found["CL_excess"].reason == "no question was asked more than once"
        sure = decompose(drawn([[(True, True)] * 2] * 3))
        assert sure["CS_excess"].reason == "no answer was wrong at first"
        assert sure["CL_excess"].value == 0


class TestSteps:
    def test_labels(self) -> None:
        states = (True, False, False, False, True, True)
        changed = (False, True, False, True, True, False)
        found = step_labels(Trajectory("a", states, changed=changed))
        assert found == ("spoilt", "stuck", "wandered", "fixed", "kept")
        assert step_labels(Trajectory("a", (False, False, True))) == (None, "fixed")
        assert step_labels(Trajectory("a", (True,))) == ()

    def test_abstentions_are_counted_by_turn(self) -> None:
        rows = [Trajectory(str(i), (False, True), abstained=(i < 3, i < 1)) for i in range(4)]
        found = decompose(rows)
        assert found["abstain@1"].numerator == 3
        assert found["abstain@2"].numerator == found["abstain@last"].numerator == 1
        assert decompose([replace(rows[0], abstained=())])["abstain@1"].reason == (
            "abstained not recorded"
        )


class TestSmallSamples:
    @pytest.mark.parametrize(("k", "n"), [(0, 7), (7, 7), (3, 30), (29, 30)])
    def test_jeffreys(self, k: int, n: int) -> None:
        low, high = jeffreys(k, n)
        posterior = stats.beta(k + 0.5, n - k + 0.5)
        assert low == pytest.approx(posterior.ppf(0.025) if k else 0)
        assert high == pytest.approx(posterior.ppf(0.975) if k < n else 1)

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.integers(-3, 3), max_size=8))
    def test_sign_flips_are_all_counted(self, moves: list[int]) -> None:
        sums = [abs(sum(s * m for s, m in zip(signs, moves, strict=True)))
                for signs in product((1, -1), repeat=len(moves))]  # fmt: skip
        expected = sum(total >= abs(sum(moves)) for total in sums) / len(sums)
        assert sign_flip_p(moves) == pytest.approx(expected)

    def test_many_sign_flips_agree_with_the_paired_t(self) -> None:
        moves = np.random.default_rng(8).normal(0.25, 1, size=80)
        assert sign_flip_p(moves) == pytest.approx(stats.ttest_1samp(moves, 0).pvalue, abs=0.01)
        assert sign_flip_p(moves[::-1]) == sign_flip_p(moves)


class TestFamilies:
    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
    def test_benjamini_hochberg_as_scipy(self, ps: list[float]) -> None:
        found = benjamini_hochberg(ps)
        assert found == pytest.approx(stats.false_discovery_control(ps).tolist())
        assert all(p <= q <= h + 1e-12 for p, q, h in zip(ps, found, holm(ps), strict=True))

    def test_nothing_to_correct(self) -> None:
        assert benjamini_hochberg([]) == []


def test_what_a_run_can_find_is_known_before_it_starts() -> None:
    assert 100 * planned_effect(198) == pytest.approx(13.27, abs=0.005)
    assert 100 * planned_effect(198, replicates=10) == pytest.approx(7.57, abs=0.005)
    effect = planned_effect(500)
    assert questions_needed(effect, between=1 / 9, within=(1 / 6, 1 / 6)) in {500, 501}
