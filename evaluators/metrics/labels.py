"""The label estimator's figures as metrics, named apart from those of sampled answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from evaluators.metrics.cvc import Confidence, Odds, cvc_odds
from evaluators.metrics.estimate import Estimate, null
from evaluators.metrics.metric import Metric
from evaluators.metrics.trajectory import Graded, Trajectory

NO_LABELS = "no label probabilities recorded"


def _of(pick: Callable[[Confidence], Estimate]) -> Callable[[Sequence[Trajectory]], Estimate]:
    def compute(trajectories: Sequence[Trajectory]) -> Estimate:
        graded = Graded.of(trajectories)
        known = [t for t in graded.scored if t.odds is not None]
        if not known:
            return null(NO_LABELS, n_total=graded.n_total)
        odds = [Odds(*t.odds) for t in known if t.odds is not None]
        found = pick(cvc_odds(odds, clusters=[t.question for t in known]))
        return replace(found, n_total=graded.n_total)

    return compute


def _metric(
    name: str, title: str, definition: str, pick: Callable[[Confidence], Estimate], *,
    unit: str = "fraction",
) -> Metric:  # fmt: skip
    return Metric(
        name, title, definition, direction="higher", unit=unit,  # type: ignore[arg-type]  # literals spelt below
        group="labels", compute=_of(pick),
    )  # fmt: skip


labels: tuple[Metric, ...] = (
    _metric(
        "label_acc@1",
        "Label acc1",
        "Mean probability of the right label at first: sum(P(a)) / n.",
        lambda found: found.acc1,
    ),
    _metric(
        "label_acc@2",
        "Label acc2",
        "Mean probability of the right label when asked again, over all forced first labels: "
        "sum(P(a) P(b|a) + (1 - P(a)) P(b|not a)) / n.",
        lambda found: found.acc2,
    ),
    _metric(
        "label_CL",
        "Label CL",
        "Keeps what is right, by label probabilities: sum(P(a) P(b|a)) / sum(P(a)).",
        lambda found: found.CL,
    ),
    _metric(
        "label_CS",
        "Label CS",
        "Fixes what is wrong, by label probabilities: "
        "sum((1 - P(a)) P(b|not a)) / (n - sum(P(a))).",
        lambda found: found.CS,
    ),
    _metric(
        "label_RSS",
        "Label RSS",
        "Relative self-correction score of the label probabilities: "
        "(acc2 - acc1^2) / (2 acc1 (1 - acc1)); never clamped to [0, 1].",
        lambda found: found.RSS,
        unit="ratio",
    ),
)
"""The classification estimator of "Confidence v.s. Critique"; needs label probabilities."""
