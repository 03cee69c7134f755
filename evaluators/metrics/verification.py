"""How good verdicts on answers are: accuracy, recall of errors, confusion rates, location."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from evaluators.metrics.calibration import auroc
from evaluators.metrics.estimate import Estimate, null
from evaluators.metrics.estimators import (
    bootstrapped,
    bounded_mean,
    cluster_totals,
    proportion,
)
from evaluators.metrics.intervals import Z
from evaluators.metrics.judgement import NO_MISTAKE, Judgement
from evaluators.metrics.metric import Metric
from evaluators.metrics.trajectory import Graded, Trajectory, codes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

Unread = Literal["error", "correct", "wrong", "left_out"]
"""What a verdict that is missing or unsure counts as: as a mistake, whatever the truth; as saying
`correct` or `wrong`; or not at all."""

NO_VERDICT = "no verdict was given"
NO_SCORE = "no score was given"
NO_LOCATION = "no location was asked for, or none is known"


class Verdicts:
    """Judgements as arrays, with missing verdicts settled."""

    def __init__(
        self,
        judgements: Sequence[Judgement],
        *,
        clusters: Iterable[Hashable] | None = None,
        unread: Unread = "error",
        n_total: int | None = None,
    ) -> None:
        """Take judgements in any order.

        Args:
            judgements: Verdicts beside the truth.
            clusters: What each belongs to; by default every judgement stands alone.
            unread: What a verdict that is missing or unsure counts as.
            n_total: Judgements that were asked for, if more.
        """
        self.all = tuple(judgements)
        self._clusters = tuple(range(len(self.all)) if clusters is None else clusters)
        self._unread = unread
        self.n_total = n_total or len(self.all)

    @cached_property
    def clusters(self) -> NDArray[np.intp]:
        """Cluster number of every judgement."""
        return codes(self._clusters)

    def where(self, holds: Callable[[Judgement], bool]) -> Bools:
        """Return for which judgements something holds."""
        import numpy as np

        return np.array([holds(judgement) for judgement in self.all], dtype=bool)

    @cached_property
    def right(self) -> Bools:
        """Which answers are right."""
        return self.where(lambda j: j.correct)

    @cached_property
    def counted(self) -> Bools:
        """Which judgements count at all."""
        return self.where(lambda j: self._unread != "left_out" or j.verdict in {"correct", "wrong"})

    @cached_property
    def approved(self) -> Bools:
        """Which answers count as called right."""

        def approves(j: Judgement) -> bool:
            if j.verdict in {"correct", "wrong"}:
                return j.verdict == "correct"
            return not j.correct if self._unread == "error" else self._unread == "correct"

        return self.where(approves)

    def share(self, hits: Bools, base: Bools, empty: str) -> Estimate:
        """Estimate the share of some judgements among others."""
        if not self.all:
            return null(NO_VERDICT, n_total=self.n_total)
        return proportion(hits, base, self.clusters, n_total=self.n_total, empty=empty)


Figure = Callable[[Verdicts], Estimate]


def _rate(
    hits: Callable[[Verdicts], Bools], base: Callable[[Verdicts], Bools], empty: str
) -> Figure:
    return lambda v: v.share(hits(v) & v.counted, base(v) & v.counted, empty)


def _f1_wrong(v: Verdicts) -> Estimate:
    """F1 of the class "the answer is wrong", as in CriticBench (2402.14809)."""
    both, said, are = (mask & v.counted for mask in (~v.right & ~v.approved, ~v.approved, ~v.right))
    n, above = len(v.all), 2 * int(both.sum())
    below = int(said.sum()) + int(are.sum())
    if not below:
        return null("no answer is wrong or was called wrong", n=n, n_total=v.n_total, denominator=0)
    base = Estimate(above / below, n=n, n_total=v.n_total, numerator=above, denominator=below)
    totals = cluster_totals(v.clusters, both, said, are)
    return bootstrapped(base, totals, lambda sums: 2 * sums[:, 0] / (sums[:, 1] + sums[:, 2]))


def _located(of: Callable[[Judgement], bool], empty: str) -> Figure:
    def figure(v: Verdicts) -> Estimate:
        base = v.where(lambda j: j.gold_location is not None and of(j))
        return v.share(v.where(lambda j: j.location == j.gold_location) & base, base, empty)

    return figure


_location_erring = _located(lambda j: j.gold_location != NO_MISTAKE, "no answer has a mistake")
_location_sound = _located(lambda j: j.gold_location == NO_MISTAKE, "no answer is without mistake")


def _location_f1(v: Verdicts) -> Estimate:
    """F1 of the two accuracies, as in ProcessBench (2412.06559); 0 where both are 0."""
    import numpy as np

    known = v.where(lambda j: j.gold_location is not None)
    erring = v.where(lambda j: j.gold_location not in {None, NO_MISTAKE})
    sound, hit = known & ~erring, known & v.where(lambda j: j.location == j.gold_location)
    if not erring.any() or not sound.any():
        reason = NO_LOCATION if not known.any() else "mistakes are in all answers or in none"
        return null(reason, n=int(known.sum()), n_total=v.n_total, denominator=0)
    totals = cluster_totals(v.clusters, hit & erring, erring, hit & sound, sound)

    def f1(sums: Floats) -> Floats:
        one, other = sums[:, 0] / sums[:, 1], sums[:, 2] / sums[:, 3]
        both = one + other
        return np.where(both > 0, 2 * one * other / np.where(both > 0, both, 1), both)

    value = float(f1(totals.sum(axis=0, keepdims=True))[0])
    return bootstrapped(Estimate(value, n=int(known.sum()), n_total=v.n_total), totals, f1)


def _auroc(v: Verdicts) -> Estimate:
    """AUROC of the scores, with the standard error of Hanley and McNeil (1982)."""
    scored = [j for j in v.all if j.score is not None]
    area = auroc([j.score or 0.0 for j in scored], [j.correct for j in scored])
    if area is None:
        reason = "answers are all right or all wrong" if scored else NO_SCORE
        return null(reason, n=len(scored), n_total=v.n_total)
    base = Estimate(area, n=len(scored), n_total=v.n_total)
    if len(set(v.clusters.tolist())) < len(v.all):
        return replace(base, reason="judgements of one cluster are not independent")
    if area in {0, 1}:
        return replace(base, reason="the scores separate right from wrong without exception")
    hits = sum(j.correct for j in scored)
    one, two = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (hits - 1) * (one - area**2)
    variance += (len(scored) - hits - 1) * (two - area**2)
    se = math.sqrt(max(0.0, variance / (hits * (len(scored) - hits))))
    low, high = max(0.0, area - Z * se), min(1.0, area + Z * se)
    return replace(base, low=low, high=high, se=se, method="hanley-mcneil")


def _of_scores(values: Callable[[Verdicts, Floats], Floats]) -> Figure:
    """Return the mean of something made of scores that are probabilities or shares."""

    def figure(v: Verdicts) -> Estimate:
        import numpy as np

        known = v.where(lambda j: j.score is not None)
        scores = np.array([0.0 if j.score is None else j.score for j in v.all], dtype=float)
        if not known.any():
            return null(NO_SCORE, n_total=v.n_total)
        if ((scores < 0) | (scores > 1)).any():
            return null("scores are no probabilities", n=int(known.sum()), n_total=v.n_total)
        return bounded_mean(
            values(v, scores), known, v.clusters, n_total=v.n_total, missing=NO_SCORE
        )

    return figure


@dataclass(frozen=True, slots=True)
class _Told:
    title: str
    definition: str
    figure: Figure
    direction: Literal["higher", "lower", "none"] = "higher"

    def of(self, verdicts: Verdicts, *, asked: bool) -> Estimate:
        """Compute the figure, unless it is one of verdicts and none were asked for."""
        if asked or self.figure in _OF_OTHERS:
            return self.figure(verdicts)
        return null(NO_VERDICT, n_total=verdicts.n_total)


_FIGURES: Mapping[str, _Told] = {
    "verdict_acc": _Told(
        "Verdict acc", "Share of verdicts that are right: (TP + TN) / n.",
        _rate(lambda v: v.approved == v.right, lambda v: v.counted, NO_VERDICT),
    ),
    "error_recall": _Told(
        "Error recall", "Of the wrong answers, the share called wrong: TN / (TN + FP).",
        _rate(lambda v: ~v.right & ~v.approved, lambda v: ~v.right, "no answer is wrong"),
    ),
    "correct_precision": _Told(
        "Correct precision", "Of the answers called right, the share that is: TP / (TP + FP).",
        _rate(lambda v: v.right & v.approved, lambda v: v.approved, "no answer was called right"),
    ),
    "verdict_TPR": _Told(
        "TPR", "Of the right answers, the share called right: TP / (TP + FN).",
        _rate(lambda v: v.right & v.approved, lambda v: v.right, "no answer is right"),
    ),
    "verdict_FPR": _Told(
        "FPR", "Of the wrong answers, the share called right: FP / (FP + TN).",
        _rate(lambda v: ~v.right & v.approved, lambda v: ~v.right, "no answer is wrong"), "lower",
    ),
    "verdict_TNR": _Told(
        "TNR", "Of the wrong answers, the share called wrong: TN / (TN + FP).",
        _rate(lambda v: ~v.right & ~v.approved, lambda v: ~v.right, "no answer is wrong"),
    ),
    "verdict_FNR": _Told(
        "FNR", "Of the right answers, the share called wrong: FN / (FN + TP).",
        _rate(lambda v: v.right & ~v.approved, lambda v: v.right, "no answer is right"), "lower",
    ),
    "verdict_F1_wrong": _Told(
        "F1 wrong", "F1 of the class \"the answer is wrong\": 2 TN / (2 TN + FN + FP).", _f1_wrong,
    ),
    "verdict_unparsed": _Told(
        "Unparsed verdicts", "Share of verdicts that could not be read: unparsed / n.",
        lambda v: v.share(v.where(lambda j: j.verdict is None), v.right | True, NO_VERDICT),
        "lower",
    ),
    "verdict_unsure": _Told(
        "Unsure verdicts", "Share of verdicts that leave it open: unsure / n.",
        lambda v: v.share(v.where(lambda j: j.verdict == "unsure"), v.right | True, NO_VERDICT),
        "none",
    ),
    "location_acc": _Told(
        "Location acc", "Share of answers whose first mistake, or none, was named: hits / n.",
        _located(lambda j: j.gold_location is not None, NO_LOCATION),
    ),
    "location_acc_mistake": _Told(
        "Location acc, mistakes", "Of the answers with a mistake, the share where it was located: "
        "hits / n.", _location_erring,
    ),
    "location_acc_sound": _Told(
        "Location acc, sound", "Of the answers without a mistake, the share where none was named: "
        "hits / n.", _location_sound,
    ),
    "location_F1": _Told(
        "Location F1", "Harmonic mean of the two location accuracies, on answers with and without "
        "a mistake: 2 a b / (a + b).", _location_f1,
    ),
    "verdict_score": _Told(
        "Mean score", "Mean score of the verdicts, such as the pass rate of checklists: "
        "mean(score).", _of_scores(lambda _, scores: scores), "none",
    ),
    "verdict_AUROC": _Told(
        "AUROC", "Chance that a right answer is scored above a wrong one, ties half: U / (n1 n0).",
        _auroc,
    ),
    "verdict_Brier": _Told(
        "Brier", "Mean squared gap between score and truth: mean((score - y)^2).",
        _of_scores(lambda v, scores: (scores - v.right) ** 2), "lower",
    ),
}  # fmt: skip


_OF_OTHERS = frozenset(
    told.figure
    for name, told in _FIGURES.items()
    if name.startswith("location_") or name in {"verdict_score", "verdict_AUROC", "verdict_Brier"}
)
"""Figures of locations and scores, which may come without a verdict."""


def verify(verdicts: Verdicts, *, asked: bool = True) -> dict[str, Estimate]:
    """Compute every figure over some verdicts.

    Args:
        asked: Verdicts were asked for; where only locations or scores were, none is missing.
    """
    return {name: told.of(verdicts, asked=asked) for name, told in _FIGURES.items()}


def _over_trajectories(figure: Figure) -> Callable[[Sequence[Trajectory]], Estimate]:
    """Compute a figure over the verdicts that evaluators returned with their answers."""

    def compute(trajectories: Sequence[Trajectory]) -> Estimate:
        scored = Graded.of(trajectories).scored
        found = [(t.question, j) for t in scored for j in t.judgements]
        if not found:
            return null(NO_VERDICT)
        judgements = [j for _, j in found]
        if not any(t.facts.get("locates") for t in scored) and _names_no_location(judgements):
            judgements = [replace(j, gold_location=None) for j in judgements]
        return figure(Verdicts(judgements, clusters=[question for question, _ in found]))

    return compute


def _names_no_location(judgements: Sequence[Judgement]) -> bool:
    """Tell whether verdicts are those of a method that asks for no location.

    Such a method misses none. One that asks says so by the fact `locates`, in case that nothing
    it was told could be read.
    """
    return all(judgement.location is None for judgement in judgements)


verification: tuple[Metric, ...] = tuple(
    Metric(
        name,
        told.title,
        told.definition,
        direction=told.direction,
        unit="fraction",
        group="verification",
        compute=_over_trajectories(told.figure),
    )
    for name, told in _FIGURES.items()
)
"""Over the verdicts of a run; a verdict that is missing or unsure counts as a mistake."""
