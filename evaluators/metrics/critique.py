"""What critiques were worth, beside what keeping everything or guessing would have given."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from evaluators.metrics.estimate import Estimate, null
from evaluators.metrics.estimators import bootstrapped, cluster_totals, proportion, within
from evaluators.metrics.judgement import Judgement
from evaluators.metrics.measures import LAST, NONE_WRONG, NOTHING_SCORED, ONE_ANSWER, accuracy_at
from evaluators.metrics.metric import Metric
from evaluators.metrics.trajectory import Graded, Trajectory
from evaluators.metrics.verification import NO_VERDICT, Verdicts, verification

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

Compute = Callable[[Sequence[Trajectory]], Estimate]

NOMINAL = 0.5
"""What RealCritic takes keeping everything to give: half of its solutions are right."""

COIN = 0.5
"""How often a judge that guesses calls an answer wrong."""

NONE_GIVEN = "the model judged its own answers, of which no half is right by design"
NO_WRONG_JUDGED = "no answer that was judged is wrong"
NONE_CONTRADICTORY = "no two answers contradict each other"
NONE_NOTICED = "no contradiction was noticed"


def guessing_f1(wrong: float) -> float:
    """Return the F1 of the class "wrong" of a judge that tosses a coin (CriticBench, 2402.14809).

    Args:
        wrong: Share of the judged answers that are wrong.
    """
    return 2 * wrong * COIN / (wrong + COIN)


def _over_nominal(trajectories: Sequence[Trajectory]) -> Estimate:
    """Accuracy of the last answers over the nominal one half, with the same interval, moved."""
    graded = Graded.of(trajectories)
    if any(t.facts.get("own") is True for t in graded.scored):
        return null(NONE_GIVEN, n=graded.n, n_total=graded.n_total)
    found = accuracy_at(LAST)(graded)
    if found.value is None:
        return found
    low, high = (None if end is None else end - NOMINAL for end in (found.low, found.high))
    return replace(
        found, value=found.value - NOMINAL, low=low, high=high, numerator=None, denominator=None
    )


def _error_reduction(trajectories: Sequence[Trajectory]) -> Estimate:
    graded = Graded.of(trajectories)
    if not graded.n or graded.turns < 2:
        reason = ONE_ANSWER if graded.n else NOTHING_SCORED
        return null(reason, n=graded.n, n_total=graded.n_total)
    first, last = ~graded.right(0), ~graded.right(LAST)
    above, below = int(first.sum()) - int(last.sum()), int(first.sum())
    if not below:
        return null(NONE_WRONG, n=graded.n, n_total=graded.n_total, denominator=0)
    base = Estimate(
        above / below, n=graded.n, n_total=graded.n_total, numerator=above, denominator=below
    )
    totals = cluster_totals(graded.clusters, first, last)
    return bootstrapped(base, totals, lambda sums: (sums[:, 0] - sums[:, 1]) / sums[:, 0])


def _over_verdicts(figure: Callable[[Verdicts], Estimate]) -> Compute:
    def compute(trajectories: Sequence[Trajectory]) -> Estimate:
        found = [(t.question, j) for t in Graded.of(trajectories).scored for j in t.judgements]
        if not found:
            return null(NO_VERDICT)
        said, clusters = [j for _, j in found], [question for question, _ in found]
        return figure(Verdicts(said, clusters=clusters, unread="correct"))

    return compute


def _guessed(verdicts: Verdicts) -> Estimate:
    wrong = verdicts.share(~verdicts.right, verdicts.right | True, NO_VERDICT)
    if not wrong.value:
        return null(NO_WRONG_JUDGED, n=wrong.n, n_total=wrong.n_total, denominator=0)
    low, high = (None if end is None else guessing_f1(end) for end in (wrong.low, wrong.high))
    value = guessing_f1(wrong.value)
    return Estimate(value, low, high, wrong.n, wrong.n_total, method=wrong.method)


def _certainty_auroc(trajectories: Sequence[Trajectory]) -> Estimate:
    """AUROC of what was noted as certainty of the first answer; null, as noted, is infinite."""
    graded = Graded.of(trajectories)
    sure = [(t, t.facts["certainty"]) for t in graded.scored if "certainty" in t.facts]
    if not sure:
        return null("no certainty was noted", n_total=graded.n_total)
    scored = [
        replace(t, judgements=(Judgement(t.correct[0], None, score),))
        for t, found in sure
        for score in [float(found) if isinstance(found, int | float) else math.inf]
    ]
    return replace(_AUROC.compute(scored), n_total=graded.n_total)


_AUROC = next(metric for metric in verification if metric.name == "verdict_AUROC")


Facts = Callable[[Graded], "tuple[Bools, Bools]"]
"""Hits, and what they are a share of."""


def _share(facts: Facts, empty: str) -> Compute:
    def compute(trajectories: Sequence[Trajectory]) -> Estimate:
        graded = Graded.of(trajectories)
        if not graded.n:
            return null(NOTHING_SCORED, n_total=graded.n_total)
        hits, base = facts(graded)
        return proportion(hits, base, graded.clusters, n_total=graded.n_total, empty=empty)

    return compute


def _noted(graded: Graded, name: str, *values: bool | None) -> Bools:
    """Return where a fact is one of some values; a fact that was not noted is none of them."""
    import numpy as np

    missing = object()
    found = [t.facts.get(name, missing) for t in graded.scored]
    return np.array([any(one is value for value in values) for one in found], dtype=bool)


def _true_of(name: str) -> Facts:
    """Take a fact as a share of where it was noted; null, for unreadable, is not true."""
    return lambda g: (_noted(g, name, True), _noted(g, name, True, False, None))


def _contradictory(graded: Graded) -> Bools:
    return _noted(graded, "contradictory", True)


def _noticed(graded: Graded) -> Bools:
    """Return where a contradiction was noticed and it is known whether there is one."""
    return _noted(graded, "noticed", True) & _noted(graded, "contradictory", True, False)


def _contradiction_f1(trajectories: Sequence[Trajectory]) -> Estimate:
    graded = Graded.of(trajectories)
    said, are = _noticed(graded), _contradictory(graded)
    below = int(said.sum()) + int(are.sum())
    if not below:
        return null(NONE_CONTRADICTORY, n=graded.n, n_total=graded.n_total, denominator=0)
    above = 2 * int((said & are).sum())
    base = Estimate(
        above / below, n=graded.n, n_total=graded.n_total, numerator=above, denominator=below
    )
    totals = cluster_totals(graded.clusters, said & are, said, are)
    found = bootstrapped(base, totals, lambda sums: 2 * sums[:, 0] / (sums[:, 1] + sums[:, 2]))
    return within(found, 0, 1)


def _metric(
    name: str, title: str, definition: str, compute: Compute, *,
    group: str = "critique", direction: str = "higher", unit: str = "fraction",
) -> Metric:  # fmt: skip
    return Metric(name, title, definition, direction, unit, group, compute)  # type: ignore[arg-type]  # literals spelt below


critique: tuple[Metric, ...] = (
    _metric(
        "over_half",
        "Over ½",
        "What corrections are worth over the nominal baseline of RealCritic: acc@last - 1/2; over "
        "the exact one, keeping every given solution, it is delta. Null in self-critique.",
        _over_nominal,
        unit="difference",
    ),
    _metric(
        "correction_missing",
        "No correction",
        "Share of critiques without a correction in the layout asked for: missing / n.",
        _share(_true_of("correction_missing"), "corrections were not asked for"),
        direction="lower",
    ),
    _metric(
        "critique_qualified",
        "Qualified",
        "Share of critiques that a judge found to criticise the solution before correcting it, an "
        "unreadable label counting against them: qualified / n.",
        _share(_true_of("qualified"), "critiques were not checked"),
    ),
    _metric(
        "critique_unlabelled",
        "Unread labels",
        "Share of checked critiques whose label could not be read, which counts against them: "
        "unread / n.",
        _share(
            lambda g: (_noted(g, "qualified", None), _noted(g, "qualified", True, False, None)),
            "critiques were not checked",
        ),
        direction="lower",
    ),
)
"""Of critiques with their corrections. RealCritic's c2c/Nc is CL, c2i/Nc is 1 - CL, i2c/Ni is CS,
i2i/Ni is 1 - CS; keeping every given solution gives acc@1, and delta is the gain over that."""

judging: tuple[Metric, ...] = (
    _metric(
        "verdict_acc_lenient",
        "Verdict acc, lenient",
        'Share of verdicts that are right, one that cannot be read taken for "correct" '
        "(2310.04815): (TP + TN) / n.",
        _over_verdicts(lambda v: v.share(v.approved == v.right, v.right | True, NO_VERDICT)),
    ),
    _metric(
        "verdict_F1_guessed",
        "F1 wrong, guessed",
        'F1 of the class "the answer is wrong" that tossing a coin would get on these answers: '
        "p / (p + 1/2) with p the share of wrong ones.",
        _over_verdicts(_guessed),
        direction="none",
    ),
)
"""Of verdicts, beside `verification`: other benchmarks' ways to count, and what guessing gets."""

self_check: tuple[Metric, ...] = (
    _metric(
        "error_reduction",
        "Error reduction",
        "Share of the wrong first answers that the last ones take away, on balance: "
        "(err_1 - err_T) / err_1.",
        _error_reduction,
        unit="ratio",
    ),
    _metric(
        "certainty_AUROC",
        "Certainty AUROC",
        "Chance that a right vote was more certain than a wrong one, by ln(f1 / f2), ties half: "
        "U / (n1 n0).",
        _certainty_auroc,
    ),
)
"""Of filters behind a vote."""

contradiction: tuple[Metric, ...] = (
    _metric(
        "contradiction_rate",
        "Contradictions",
        "Share of pairs of answers to one question that differ as the task extracts them: "
        "differing / pairs with two answers.",
        _share(
            lambda g: (_contradictory(g), _noted(g, "contradictory", True, False)),
            "no pair had two answers that could be extracted",
        ),
        group="contradiction",
        direction="lower",
    ),
    _metric(
        "contradiction_P",
        "Detection P",
        "Of the pairs called contradictory, the share that is: TP / (TP + FP).",
        _share(lambda g: (_noticed(g) & _contradictory(g), _noticed(g)), NONE_NOTICED),
        group="contradiction",
    ),
    _metric(
        "contradiction_R",
        "Detection R",
        "Of the contradictory pairs, the share called so, an unreadable verdict being a miss: "
        "TP / (TP + FN).",
        _share(lambda g: (_noticed(g) & _contradictory(g), _contradictory(g)), NONE_CONTRADICTORY),
        group="contradiction",
    ),
    _metric(
        "contradiction_F1",
        "Detection F1",
        "Harmonic mean of both: 2 TP / (2 TP + FP + FN).",
        _contradiction_f1,
        group="contradiction",
    ),
    _metric(
        "contradiction_unread",
        "Unread detections",
        "Share of verdicts on contradiction that could not be read: unread / n.",
        _share(
            lambda g: (_noted(g, "noticed", None), _noted(g, "noticed", True, False, None)),
            NO_VERDICT,
        ),
        group="contradiction",
        direction="lower",
    ),
    _metric(
        "contradiction_removed",
        "Removed",
        "Of the contradictory pairs, the share that was noticed and settled on one of the two "
        "answers: settled / contradictory.",
        _share(
            lambda g: (_noted(g, "settled", True) & _contradictory(g), _contradictory(g)),
            NONE_CONTRADICTORY,
        ),
        group="contradiction",
    ),
)
"""Of a model's answers that contradict each other."""
