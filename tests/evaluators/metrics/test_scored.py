"""Scores of verdicts: calibration, and the accuracy of choosing the best-scored of k samples."""

import pytest

from evaluators import metrics
from evaluators.metrics import Judgement, Trajectory


def question(name: str, *samples: tuple[bool, float | None]) -> Trajectory:
    judgements = tuple(Judgement(right, "correct", score) for right, score in samples)
    return Trajectory(name, tuple(right for right, _ in samples), task="t", judgements=judgements)


# Oracle E's five samples, best first, and a question of which none is right.
RANKED = question(
    "ranked", *zip([True, False, True, True, False], [0.9, 0.8, 0.7, 0.6, 0.5], strict=True)
)
WRONG = question("wrong", *[(False, 0.5)] * 5)


def value(name: str, *questions: Trajectory) -> float | None:
    return metrics.get(name).compute(questions).value


class TestCandidates:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [("verifier@1", 0.6), ("verifier@2", 0.7), ("verifier@4", 0.8), ("pass@2", 0.9)],
    )
    def test_one_question(self, name: str, expected: float) -> None:
        assert value(name, RANKED) == pytest.approx(expected)

    def test_averages_over_questions(self) -> None:
        found = metrics.get("verifier@2").compute([RANKED, WRONG])
        assert found.value == pytest.approx(0.35)
        assert (found.n, found.method) == (2, "clustered t")
        assert found.low is not None
        assert found.low >= 0

    def test_leaves_out_questions_with_too_few_samples(self) -> None:
        few = question("few", (True, 0.2))
        assert metrics.get("verifier@1").compute([RANKED, few]).n == 2
        assert metrics.get("verifier@2").compute([RANKED, few]).n == 1
        none = metrics.get("verifier@8").compute([RANKED, few])
        assert (none.value, none.reason) == (None, "no question has 8 scored samples")

    def test_equal_scores_choose_blindly(self) -> None:
        blind = question("blind", (True, 0.5), (False, 0.5), (False, 0.5), (False, 0.5))
        assert value("verifier@4", blind) == pytest.approx(0.25)

    def test_verdicts_without_a_score_are_no_candidates(self) -> None:
        assert value("verifier@1", question("unscored", (True, None))) is None

    def test_a_few_questions_that_are_all_right_leave_doubt(self) -> None:
        judged = (Judgement(True, "correct", 0.9), Judgement(True, "correct", 0.8))
        run = [Trajectory(str(i), (True, True), judgements=judged) for i in range(10)]
        for name in ("verifier@2", "pass@2"):
            found = metrics.get(name).compute(run)
            assert (found.value, found.high, found.method) == (1, 1, "wilson over clusters")
            assert found.low == pytest.approx(0.7225, abs=6e-5), "Wilson of 10 of 10"


class TestCalibration:
    def test_is_the_closed_form(self) -> None:
        scores, right = (0.95, 0.9, 0.8, 0.6, 0.55, 0.3), (1, 1, 0, 1, 0, 0)
        questions = [
            question(str(i), (bool(y), score))
            for i, (score, y) in enumerate(zip(scores, right, strict=True))
        ]
        found = metrics.get("verdict_ECE").compute(questions)
        assert found.value == pytest.approx(0.233333, abs=1e-6)
        assert found.method == "cluster bootstrap"
        assert found.low is not None
        assert found.high is not None
        assert found.low <= found.value <= found.high

    def test_counts_verdicts_and_those_with_a_score_among_them(self) -> None:
        found = metrics.get("verdict_ECE").compute([question("q", (True, 0.5), (True, None))] * 2)
        assert (found.n, found.n_total) == (2, 4)

    def test_its_resamples_share_its_bins(self) -> None:
        questions = [question(str(i), (i % 2 == 0, 0.1 * (i + 1))) for i in range(10)]
        found = metrics.get("verdict_ECE").compute(questions)
        gaps = [abs((i % 2 == 0) - 0.1 * (i + 1)) for i in range(10)]
        assert found.value == pytest.approx(sum(gaps) / 10)

    @pytest.mark.parametrize(
        ("score", "reason"), [(None, "no score was given"), (7.0, "scores are no probabilities")]
    )
    def test_says_why_there_is_none(self, score: float | None, reason: str) -> None:
        found = metrics.get("verdict_ECE").compute([question("q", (True, score))])
        assert (found.value, found.reason) == (None, reason)
