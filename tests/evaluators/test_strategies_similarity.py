"""Similarity of generations: overlaps as their paper defines them, and not as its name is used."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.api import strategies
from evaluators.model import TokenLogprob

similarity = strategies.similarity
TEXTS = st.lists(st.text("ab c", max_size=8), min_size=1, max_size=5)


def scores(*texts: str, size: int = 1) -> list[float]:
    return similarity.consistency([similarity.presence(text, size=size) for text in texts])


def test_ucs_is_the_share_of_the_vocabulary_that_two_texts_hold() -> None:
    # {a b c d}: "a b" meets "a c" in a, "a b" meets "d" in nothing, "a c" meets "d" in nothing
    assert scores("a b", "a c", "d") == [0.125, 0.125, 0.0]


def test_repetition_does_not_count() -> None:
    assert scores("a a a b", "a c") == scores("a b", "a c")


def test_runs_of_words() -> None:
    assert similarity.presence("A b, a b", size=2) == {"a b": 1, "b ,": 1, ", a": 1}
    assert similarity.presence("one", size=2) == {}


def test_wucs_weighs_by_mean_probability() -> None:
    half, quarter = math.log(0.5), math.log(0.25)
    left = similarity.mean_probabilities(
        [TokenLogprob("a", half), TokenLogprob("a", quarter), TokenLogprob("b", half)]
    )
    right = similarity.mean_probabilities([TokenLogprob("a", quarter), TokenLogprob("c", 0.0)])
    assert left == pytest.approx({"a": 0.375, "b": 0.5})
    assert similarity.overlap(left, right, vocabulary=3) == pytest.approx(0.375 * 0.25 / 3)


@pytest.mark.parametrize(("texts", "expected"), [([], []), (["a"], [0.0]), (["", ""], [0.0, 0.0])])
def test_nothing_to_compare_scores_nothing(texts: list[str], expected: list[float]) -> None:
    assert scores(*texts) == expected


def test_corpus_counts_are_another_score() -> None:
    texts = ["a a a b", "a c", "a c"]
    # a stands there 5 times, b once, c twice
    assert similarity.corpus_counts(texts) == [4.0, 3.5, 3.5]
    assert scores(*texts) == pytest.approx([1 / 3, 1 / 2, 1 / 2])
    assert similarity.corpus_counts(["", "x"]) == [0.0, 1.0]


@given(TEXTS, st.randoms(use_true_random=False))
def test_scores_move_with_their_texts(texts: list[str], random) -> None:
    order = random.sample(range(len(texts)), len(texts))
    moved = scores(*(texts[index] for index in order))
    assert moved == pytest.approx([scores(*texts)[index] for index in order])


@given(TEXTS)
def test_scores_are_shares(texts: list[str]) -> None:
    assert all(0 <= score <= 1 for score in scores(*texts))


@given(st.text(max_size=6), st.integers(2, 4))
def test_copies_score_alike(text: str, copies: int) -> None:
    assert len(set(scores(*[text] * copies))) == 1


class TestEdits:
    @pytest.mark.parametrize(
        ("left", "right", "edits"),
        [("kitten", "sitting", 3), ("flaw", "lawn", 2), ("", "abc", 3), ("ä\ud800", "a", 2)],
    )
    def test_are_counted_over_the_length_of_both(self, left: str, right: str, edits: int) -> None:
        for one, other in ((left, right), (right, left)):
            assert similarity.edit_ratio(one, other) == edits / (len(left) + len(right))

    def test_of_two_empty_texts_are_none(self) -> None:
        assert similarity.edit_ratio("", "") is None

    def test_of_two_very_long_texts_are_not_counted(self) -> None:
        assert similarity.edit_ratio("a" * 10_001, "b" * 10_000) is None
        assert similarity.edit_ratio("a" * 10_001, "b") == 10_001 / 10_002

    @given(st.text(max_size=12), st.text(max_size=12), st.text(max_size=12))
    def test_are_a_distance(self, a: str, b: str, c: str) -> None:
        def edits(one: str, other: str) -> float:
            return (similarity.edit_ratio(one, other) or 0) * (len(one) + len(other))

        assert (edits(a, b) == 0) is (a == b)
        assert edits(a, c) <= edits(a, b) + edits(b, c) + 1e-9
