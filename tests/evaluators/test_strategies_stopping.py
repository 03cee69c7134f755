"""Stopping rules: closed forms of oracle E, the authors' thresholds, and what must always hold."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.api import strategies
from evaluators.metrics.sampling import stays_ahead
from evaluators.strategies.stopping import THRESHOLDS, chance_ahead, chance_first, spread, tally

SHARED = Path(os.environ.get("REDRAFT_SHARED", Path(__file__).parents[3] / "shared"))
ORACLE = SHARED / "oracles" / "oracle_e_closed_forms.json"

stopping = strategies.stopping
BALLOTS = st.lists(st.one_of(st.none(), st.sampled_from("ABC")), max_size=12)
COUNTS = st.lists(st.integers(1, 9), min_size=1, max_size=6).map(lambda c: sorted(c, reverse=True))


def ballots_of(first: int, second: int) -> list[str | None]:
    return ["A"] * first + ["B"] * second


@pytest.mark.skipif(not ORACLE.exists(), reason=f"{ORACLE} is absent; set REDRAFT_SHARED")
def test_beta_stops_where_the_oracle_does() -> None:
    groups = json.loads(ORACLE.read_text(encoding="utf-8"))["groups"]
    (group,) = [g for g in groups if g["group"] == "adaptive_consistency_beta"]
    *cases, table = group["cases"]
    for case in cases:
        ballots = ballots_of(case["inputs"]["a"], case["inputs"]["b"])
        found = stopping.confidence("beta", ballots)
        assert found == pytest.approx(case["expected"]["P"], abs=group["tolerance"])
        stops = stopping.settled("beta", ballots, threshold=group["threshold"])
        assert stops is case["expected"]["stop"]
    smallest = [
        next(a for a in range(b, 99) if stopping.settled("beta", ballots_of(a, b), threshold=0.95))
        for b in table["inputs"]["b_values"]
    ]
    assert smallest == table["expected"]["smallest_a_that_stops"]


class TestDirichlet:
    @given(st.integers(1, 20), st.integers(0, 20))
    def test_of_two_answers_is_beta(self, first: int, second: int) -> None:
        first, second = max(first, second), min(first, second)
        counts = [first, second] if second else [first]
        assert chance_first(counts) == pytest.approx(stays_ahead(first, second), abs=1e-12)

    @pytest.mark.parametrize("counts", [[5, 3, 2], [10, 8, 7, 7, 6], [3, 1, 1, 1, 1]])
    def test_is_what_drawing_gives(self, counts: list[int]) -> None:
        import numpy as np

        draws = np.random.default_rng(0).dirichlet(np.array(counts) + 1, size=200_000)
        drawn = float((draws[:, 0] > draws[:, 1:].max(axis=1)).mean())
        assert chance_first(counts) == pytest.approx(drawn, abs=0.005)

    def test_equal_counts_share_the_chance(self) -> None:
        assert chance_first([4, 4, 4]) == pytest.approx(1 / 3, abs=1e-12)

    def test_looks_at_the_first_five_answers(self) -> None:
        assert chance_first([5, 4, 3, 2, 1, 1, 1]) == chance_first([5, 4, 3, 2, 1])

    @given(COUNTS)
    def test_is_never_surer_than_beta(self, counts: list[int]) -> None:
        assert 0 < chance_first(counts) <= chance_ahead(counts) + 1e-12


class TestEntropyAndShare:
    @pytest.mark.parametrize(
        ("counts", "expected"),
        [([1, 1], 1.0), ([2], 0.918296), ([3], 0.811278), ([4], 0.721928), ([3, 1, 1], 0.864974)],
    )
    def test_entropy_as_the_authors_compute_it(self, counts: list[int], expected: float) -> None:
        assert spread(counts) == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize(
        ("stopper", "answers", "stops"),
        [
            ("entropy", "A", False),
            ("entropy", "AAA", False),
            ("entropy", "AAAA", True),
            ("entropy", "AB", False),
            ("majority", "A", False),
            ("majority", "AA", True),
            ("majority", "AAAAB", True),
            ("majority", "AAAB", False),
        ],
    )
    def test_stops(self, stopper, answers: str, stops: bool) -> None:
        assert stopping.settled(stopper, [*answers], threshold=THRESHOLDS[stopper]) is stops


@pytest.mark.parametrize("stopper", THRESHOLDS)
class TestEveryRule:
    def test_never_stops_without_an_answer(self, stopper) -> None:
        for ballots in ([], [None], [None] * 40):
            assert not stopping.settled(stopper, ballots, threshold=THRESHOLDS[stopper])

    @given(BALLOTS, st.randoms(use_true_random=False))
    def test_does_not_depend_on_the_order(self, stopper, ballots, random) -> None:
        shuffled = random.sample(ballots, len(ballots))
        assert stopping.confidence(stopper, shuffled) == stopping.confidence(stopper, ballots)

    @given(BALLOTS)
    def test_does_not_count_what_holds_no_answer(self, stopper, ballots) -> None:
        assert stopping.confidence(stopper, [*ballots, None]) == stopping.confidence(
            stopper, ballots
        )


class TestWindow:
    @pytest.mark.parametrize(
        ("window", "agrees"),
        [
            (["7", "7.0", " 7"], True),
            (["7", "8"], False),
            ([None, None], False),
            (["7", None], False),
            ([], False),
        ],
        ids=["equal-answers", "two-answers", "all-unparsed", "partly-unparsed", "empty"],
    )
    def test_is_unanimous(self, window, agrees: bool) -> None:
        assert stopping.unanimous(window) is agrees


def test_tally_counts_equal_answers_once() -> None:
    assert tally(["1", "2", "1.0", None, "2.00", "2"]) == [3, 2]
