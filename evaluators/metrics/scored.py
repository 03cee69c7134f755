"""What the scores of verdicts are good for: calibration, and choosing among several samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from evaluators.metrics.calibration import expected_calibration_error
from evaluators.metrics.estimate import Estimate, null
from evaluators.metrics.estimators import bootstrapped, bounded_mean, cluster_totals
from evaluators.metrics.judgement import Judgement
from evaluators.metrics.metric import Metric
from evaluators.metrics.sampling import best_of_k, pass_at_k
from evaluators.metrics.trajectory import Graded, Trajectory, codes
from evaluators.metrics.verification import NO_SCORE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BINS = 10
DRAWS = (1, 2, 4, 8, 16)
"""How many of a question's samples the metrics of a choice suppose were drawn."""


def _scored(trajectory: Trajectory) -> list[Judgement]:
    return [judgement for judgement in trajectory.judgements if judgement.score is not None]


def _ece(trajectories: Sequence[Trajectory]) -> Estimate:
    """Expected calibration error of scores that are probabilities, in bins of equal width."""
    import numpy as np

    graded = Graded.of(trajectories)
    found = [(t.question, j) for t in graded.scored for j in _scored(t)]
    verdicts = sum(len(t.judgements) for t in graded.scored)
    if not found:
        return null(NO_SCORE, n_total=verdicts)
    scores = [judgement.score or 0.0 for _, judgement in found]
    right = [judgement.correct for _, judgement in found]
    if min(scores) < 0 or max(scores) > 1:
        return null("scores are no probabilities", n=len(found), n_total=verdicts)
    value = expected_calibration_error(scores, right, bins=BINS)
    # Rounded as the figure itself does: 0.3 * 10 is 3.0000000000000004 for some writings of 0.3.
    place = np.maximum(1, np.ceil(np.round(np.array(scores) * BINS, 9))).astype(int) - 1
    gaps = np.zeros((len(found), BINS))
    gaps[np.arange(len(found)), place] = np.array(scores) - np.array(right)
    clusters = codes(question for question, _ in found)
    totals = cluster_totals(clusters, *gaps.T, np.ones(len(found)))
    base = Estimate(value, n=len(found), n_total=verdicts, denominator=len(found))
    return bootstrapped(base, totals, lambda sums: np.abs(sums[:, :-1]).sum(axis=1) / sums[:, -1])


def _mean_over_questions(
    of: Callable[[Sequence[Judgement]], float], draws: int
) -> Callable[[Sequence[Trajectory]], Estimate]:
    """Average a figure of a question's scored samples, of which there must be enough."""

    def compute(trajectories: Sequence[Trajectory]) -> Estimate:
        import numpy as np

        graded = Graded.of(trajectories)
        judged = [_scored(trajectory) for trajectory in graded.scored]
        known: NDArray[np.bool_] = np.array([len(each) >= draws for each in judged], dtype=bool)
        values = np.array([of(each) if len(each) >= draws else 0.0 for each in judged])
        missing = f"no question has {draws} scored samples"
        return bounded_mean(values, known, graded.clusters, n_total=graded.n_total, missing=missing)

    return compute


def verifier_at(draws: int) -> Metric:
    """Return the accuracy of the best-scored of so many samples."""
    return Metric(
        f"verifier@{draws}",
        f"Verifier@{draws}",
        f"Chance that the best-scored of {draws} of a question's samples is right, averaged over "
        "questions; samples of one score stand in every order equally often.",
        direction="higher",
        unit="fraction",
        group="candidates",
        compute=_mean_over_questions(
            lambda js: best_of_k(
                [j.correct for j in js], draws, scores=[j.score or 0.0 for j in js]
            ),
            draws,
        ),
    )


def pass_at(draws: int) -> Metric:
    """Return the chance that one of so many samples is right: no choice can do better."""
    return Metric(
        f"pass@{draws}",
        f"Pass@{draws}",
        f"Chance that {draws} of a question's samples hold a right one, averaged over questions: "
        "1 - C(n - c, k) / C(n, k).",
        direction="higher",
        unit="fraction",
        group="candidates",
        compute=_mean_over_questions(
            lambda js: pass_at_k(len(js), sum(j.correct for j in js), draws), draws
        ),
    )


candidates: tuple[Metric, ...] = (
    *(verifier_at(draws) for draws in DRAWS),
    *(pass_at(draws) for draws in DRAWS[1:]),
)
"""Of methods that return all their samples as answers, with a scored verdict on each."""

calibrated: tuple[Metric, ...] = (
    Metric(
        "verdict_ECE",
        "ECE",
        "Expected calibration error: mean over 10 bins of equal width of |share right - mean "
        "score|, weighted by their sizes.",
        direction="lower",
        unit="fraction",
        group="calibration",
        compute=_ece,
    ),
)
"""Of methods whose verdicts have probabilities for scores."""
