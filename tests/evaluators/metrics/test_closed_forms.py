"""Closed forms of oracle E and the verifiers of oracle D."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.metrics import calibration, potential, sampling
from evaluators.strategies import plurality


def group(name: str) -> Any:
    """Pick the cases of one group of oracle E, with the group's other keys."""

    def pick(data: dict[str, Any]) -> list[dict[str, Any]]:
        found = next(g for g in data["groups"] if g["group"] == name)
        shared = {key: value for key, value in found.items() if key not in {"cases", "group"}}
        return [shared | case for case in found["cases"]]

    return pick


@pytest.mark.cases("oracle_e_closed_forms.json", group("adaptive_consistency_beta"))
def test_adaptive_consistency(case: dict[str, Any]) -> None:
    inputs, expected = case["inputs"], case["expected"]
    if "b_values" in inputs:
        found = [
            next(a for a in range(99) if sampling.stays_ahead(a, b) >= case["threshold"])
            for b in inputs["b_values"]
        ]
        assert found == expected["smallest_a_that_stops"]
        return
    chance = sampling.stays_ahead(inputs["a"], inputs["b"])
    assert chance == pytest.approx(expected["P"], abs=case["tolerance"])
    assert (chance >= case["threshold"]) is expected["stop"]


@pytest.mark.cases("oracle_e_closed_forms.json", group("early_stopping_expected_samples"))
def test_early_stopping(case: dict[str, Any]) -> None:
    found = sampling.expected_samples(
        case["inputs"]["p"], window=case["window"], most=case["max_samples"]
    )
    assert found == pytest.approx(case["expected"]["E_samples"], abs=case["tolerance"])


@pytest.mark.cases("oracle_e_closed_forms.json", group("pass_at_k"))
def test_pass_at_k(case: dict[str, Any]) -> None:
    found = sampling.pass_at_k(*(case["inputs"][key] for key in ("n", "c", "k")))
    assert found == pytest.approx(case["expected"]["pass_at_k"], abs=case["tolerance"])


@pytest.mark.cases("oracle_e_closed_forms.json", group("best_of_k"))
def test_best_of_k(case: dict[str, Any]) -> None:
    found = sampling.best_of_k(case["inputs"]["alpha"], case["inputs"]["k"])
    assert found == pytest.approx(case["expected"]["best_of_k"], abs=case["tolerance"])


@pytest.mark.cases("oracle_e_closed_forms.json", group("self_certainty"))
def test_self_certainty(case: dict[str, Any]) -> None:
    found = sampling.self_certainty(case["inputs"]["token_distributions"])
    assert found == pytest.approx(case["expected"]["self_certainty"], abs=case["tolerance"])


@pytest.mark.cases("oracle_e_closed_forms.json", group("borda_vote"))
def test_borda(case: dict[str, Any]) -> None:
    weights = sampling.borda(case["inputs"]["ranked"], case["inputs"]["p"])
    assert weights == pytest.approx(case["expected"]["weights"], abs=case["tolerance"])
    assert sampling.winner(weights) == case["expected"]["winner"]


@pytest.mark.cases("oracle_e_closed_forms.json", group("calibration"))
def test_calibration(case: dict[str, Any]) -> None:
    pairs = case["inputs"]["conf"], [bool(y) for y in case["inputs"]["y"]]
    found = {
        "ECE": calibration.expected_calibration_error(*pairs, bins=case["bins"]),
        "Brier": calibration.brier(*pairs),
        "AUROC": calibration.auroc(*pairs),
    }
    assert found == pytest.approx(case["expected"], abs=case["tolerance"])


@pytest.mark.cases("oracle_e_closed_forms.json", group("verification_gap"))
def test_verification_gap(case: dict[str, Any]) -> None:
    found = potential.verification_gap(case["inputs"]["u"], case["inputs"]["keep"])
    expected = case["expected"]
    assert found.gap == pytest.approx(expected["gap"], abs=case["tolerance"])
    assert found.relative == pytest.approx(expected["relative_gap"], abs=case["tolerance"])


@pytest.mark.cases("oracle_e_closed_forms.json", group("bbq_bias"))
def test_bias(case: dict[str, Any]) -> None:
    inputs, expected = case["inputs"], case["expected"]
    found = potential.bias(inputs["n_biased"], inputs["n_non_unknown"], inputs["acc_amb"])
    if expected["s_DIS"] is None:
        assert found == potential.Bias(None, None)
        return
    assert found.disambiguated == pytest.approx(expected["s_DIS"], abs=case["tolerance"])
    assert found.ambiguous == pytest.approx(expected["s_AMB"], abs=case["tolerance"])


@pytest.mark.cases("oracle_e_closed_forms.json", group("decision_sharpening"))
def test_sharpening(case: dict[str, Any]) -> None:
    found = sampling.sharpened(case["inputs"]["alpha"], case["inputs"]["T"])
    assert found == pytest.approx(case["expected"]["P_revise"], abs=case["tolerance"])


@pytest.mark.cases("oracle_e_closed_forms.json", group("reguess_without_replacement"))
def test_guessing_again(case: dict[str, Any]) -> None:
    found = sampling.guesses_again(*(case["inputs"][key] for key in ("p", "L", "rounds")))
    assert found == pytest.approx(case["expected"]["accuracy"], abs=case["tolerance"])


class TestSampling:
    @settings(deadline=None)
    @given(st.integers(1, 30), st.data())
    def test_pass_at_k_is_the_hypergeometric_chance(self, n: int, data: st.DataObject) -> None:
        c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
        expected = 1 - math.comb(n - c, k) / math.comb(n, k)
        assert sampling.pass_at_k(n, c, k) == pytest.approx(expected, abs=1e-12)

    @settings(deadline=None)
    @given(st.lists(st.booleans(), min_size=1, max_size=12), st.data())
    def test_equal_scores_make_best_of_k_the_mean(
        self, right: list[bool], data: st.DataObject
    ) -> None:
        k = data.draw(st.integers(1, len(right)))
        found = sampling.best_of_k(right, k, scores=[0.5] * len(right))
        assert found == pytest.approx(sum(right) / len(right))

    def test_scores_put_the_best_first(self) -> None:
        scored = sampling.best_of_k([False, True, True], 2, scores=[0.1, 0.9, 0.5])
        assert scored == sampling.best_of_k([True, True, False], 2) == 1

    def test_unparsed_answers_have_no_weight(self) -> None:
        assert sampling.borda(["A", None, "A"], 1) == {"A": 4}
        assert sampling.winner({}) is None
        assert sampling.self_certainty([]) is None

    @pytest.mark.parametrize(("n", "c", "k"), [(5, 6, 1), (5, 2, 6), (5, 2, 0), (5, -1, 1)])
    def test_refuses_impossible_counts(self, n: int, c: int, k: int) -> None:
        with pytest.raises(ValueError, match="samples with"):
            sampling.pass_at_k(n, c, k)

    def test_refuses_more_than_there_are(self) -> None:
        with pytest.raises(ValueError, match="k = 3 of 2"):
            sampling.best_of_k([True, False], 3)


class TestCalibration:
    def test_null_rule(self) -> None:
        assert calibration.expected_calibration_error([], []) is None
        assert calibration.brier([], []) is calibration.aurc([], []) is None
        assert calibration.auroc([0.2, 0.3], [True, True]) is None

    def test_bins_are_closed_on_the_right(self) -> None:
        """0.3 belongs to (0.2, 0.3], beside 0.25: one bin with gap |0.55 - 1| / 2."""
        found = calibration.expected_calibration_error([0.25, 0.1 * 3], [True, False])
        assert found == pytest.approx(0.225)

    def test_equal_mass(self) -> None:
        found = calibration.expected_calibration_error(
            [0.1, 0.2, 0.8, 0.9], [False, True, True, True], bins=2, equal_mass=True
        )
        assert found == pytest.approx((0.7 + 0.3) / 4)

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=25))
    def test_auroc_counts_pairs(self, rows: list[tuple[int, bool]]) -> None:
        scores, right = [float(s) for s, _ in rows], [y for _, y in rows]
        pairs = [(a, b) for a, y in rows if y for b, z in rows if not z]
        expected = sum(1.0 if a > b else 0.5 * (a == b) for a, b in pairs)
        found = calibration.auroc(scores, right)
        assert found == (pytest.approx(expected / len(pairs)) if pairs else None)

    def test_aurc(self) -> None:
        assert calibration.aurc([0.9, 0.5, 0.1], [True, False, True]) == pytest.approx(
            (0 + 1 / 2 + 1 / 3) / 3
        )
        assert calibration.aurc([0.5, 0.5], [True, False]) == pytest.approx(0.5)

    def test_refuses_what_is_no_confidence(self) -> None:
        with pytest.raises(ValueError, match="not between 0 and 1"):
            calibration.brier([1.2], [True])


class TestGap:
    def test_solved_and_empty_questions_are_counted(self) -> None:
        found = potential.verification_gap(
            [[True, True], [True, False]], [[True, False], [False] * 2]
        )
        assert (found.gap, found.relative, found.solved, found.empty) == (0, 0, 1, 1)
        assert potential.verification_gap([], []).gap is None

    def test_refuses_a_question_without_answers(self) -> None:
        with pytest.raises(ValueError, match="without answers"):
            potential.verification_gap([[]], [[]])


ballots = st.lists(st.sampled_from(["12", "7", "x", None]), min_size=1, max_size=12)


@settings(deadline=None)
@given(ballots, st.randoms(use_true_random=False))
def test_the_order_of_samples_decides_a_vote_only_where_it_is_tied(
    cast: list[str | None], random: Any
) -> None:
    shuffled = cast.copy()
    random.shuffle(shuffled)
    one, other = plurality(cast), plurality(shuffled)
    assert (one.votes, one.valid, one.tied) == (other.votes, other.valid, other.tied)
    if one.winner is not None and other.winner is not None and not one.tied:
        assert cast[one.winner] == shuffled[other.winner]
