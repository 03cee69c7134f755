"""What came of verdicts: of answers that were called wrong, of decisions to refine, of choices."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

from evaluators.api import metrics

Places = Callable[[metrics.Trajectory], Iterator[tuple[bool, bool]]]
"""Places of a trajectory: whether each counts for a share, and whether it is a hit."""

NO_VERDICT = "no verdict was given"


def _share(places: Places, *, none: str, empty: str) -> Callable[..., metrics.Estimate]:
    """Return what estimates the share of hits among the places that count.

    Args:
        none: Why there is no number where no trajectory has such a place.
        empty: Why there is none where no place counts.
    """

    def compute(trajectories: Sequence[metrics.Trajectory]) -> metrics.Estimate:
        import numpy as np

        graded = metrics.Graded.of(trajectories)
        found = [(t.question, *place) for t in graded.scored for place in places(t)]
        if not found:
            return metrics.null(none, n_total=graded.n_total)
        counted = metrics.Verdicts(
            [metrics.Judgement(counts, None) for _, counts, _ in found],
            clusters=[question for question, _, _ in found],
            n_total=graded.n_total,
        )
        hits = np.array([hit for _, _, hit in found], dtype=bool)
        return counted.share(hits, counted.right, empty)

    return compute


def _at_first(t: metrics.Trajectory) -> Iterator[tuple[bool, bool]]:
    if t.judgements:
        said = t.judgements[0]
        lost = len(t.correct) > 1 and not t.correct[1]
        yield said.correct and said.verdict == "wrong", lost


def _flagged(t: metrics.Trajectory, *, right: bool) -> Iterator[tuple[bool, bool]]:
    """Yield whether each judged answer was called wrong, and whether the next one is otherwise.

    Of several verdicts on one answer the last one counts; where nothing follows, it stands.
    """
    judged = t.facts.get("judged")
    if not isinstance(judged, list | tuple) or len(judged) != len(t.judgements):
        return
    last = {int(str(answer)): said for answer, said in zip(judged, t.judgements, strict=True)}
    for answer, said in last.items():
        following = t.correct[min(answer + 1, len(t.correct) - 1)]
        yield said.verdict == "wrong" and said.correct is right, following is not right


def _trusted(t: metrics.Trajectory) -> Iterator[tuple[bool, bool]]:
    if "trusted" in t.facts and len(t.correct) == 3:
        first, refined, trusted = t.correct
        yield first != refined, trusted


def _refined(t: metrics.Trajectory) -> Iterator[tuple[bool, bool]]:
    yield len(t.correct) > 1, not t.correct[0]


def _over(
    name: str, judge: Callable[[metrics.Trajectory], metrics.Judgement | None]
) -> Callable[..., metrics.Estimate]:
    """Return a figure of verdicts, computed over something else of each trajectory."""
    figure = next(metric for metric in metrics.verification if metric.name == name)

    def compute(trajectories: Sequence[metrics.Trajectory]) -> metrics.Estimate:
        graded = metrics.Graded.of(trajectories)
        judged = [(t, judge(t)) for t in graded.scored]
        told = [replace(t, judgements=(said,)) for t, said in judged if said]
        return replace(figure.compute(told), n_total=graded.n_total)

    return compute


def _decision(t: metrics.Trajectory) -> metrics.Judgement:
    return metrics.Judgement(t.correct[0], "wrong" if len(t.correct) > 1 else "correct")


def _edits(t: metrics.Trajectory) -> metrics.Judgement | None:
    ratio = t.facts.get("edit_ratio")
    return metrics.Judgement(True, None, ratio) if isinstance(ratio, int | float) else None


def _metric(
    name: str, title: str, definition: str, compute: Callable[..., metrics.Estimate]
) -> metrics.Metric:
    way: Literal["higher", "lower"] = "lower" if name in {"p_c2i", "flagged_c2i"} else "higher"
    return metrics.Metric(name, title, definition, way, "fraction", "verification", compute)


p_c2i = _metric(
    "p_c2i",
    "Spoilt when doubted",
    "Of the first answers that were right and called wrong, the share whose next answer is wrong: "
    "spoilt / doubted (2502.19613).",
    _share(_at_first, none=NO_VERDICT, empty="no right answer was called wrong"),
)
"""For methods whose first verdict is about the first answer, and whose second answer acts on it."""

flagged_i2c = _metric(
    "flagged_i2c",
    "Fixed when flagged",
    "Of the wrong answers that were called wrong, the share whose next answer is right: "
    "fixed / flagged (2502.12853).",
    _share(
        lambda t: _flagged(t, right=False),
        none=NO_VERDICT,
        empty="no wrong answer was called wrong",
    ),
)
"""For methods that note which answers they judged, as the fact `judged`."""

flagged_c2i = _metric(
    "flagged_c2i",
    "Spoilt when flagged",
    "Of the right answers that were called wrong, the share whose next answer is wrong: "
    "spoilt / flagged (2502.12853).",
    _share(
        lambda t: _flagged(t, right=True), none=NO_VERDICT, empty="no right answer was called wrong"
    ),
)

truster_acc = _metric(
    "truster_acc",
    "Truster acc",
    "Where only one of the first and the refined answer is right, the share in which that one was "
    "trusted: trusted / either (2311.07961).",
    _share(_trusted, none="nothing was refined", empty="both answers were right or both wrong"),
)
"""For methods that note which of two answers they trusted, as the fact `trusted`."""

refine_acc = _metric(
    "refine_acc",
    "Refine decision acc",
    "Share of first answers that were refined and wrong, or kept and right: (TP + TN) / n.",
    _over("verdict_acc", _decision),
)

refine_precision = _metric(
    "refine_precision",
    "Refine decision precision",
    "Of the first answers that were refined, the share that was wrong: TP / (TP + FP).",
    _share(_refined, none="nothing was scored", empty="nothing was refined"),
)

refine_recall = _metric(
    "refine_recall",
    "Refine decision recall",
    "Of the first answers that were wrong, the share that was refined: TP / (TP + FN).",
    _over("error_recall", _decision),
)

refine_f1 = _metric(
    "refine_F1",
    "Refine decision F1",
    "Harmonic mean of precision and recall of the decision: 2 TP / (2 TP + FP + FN).",
    _over("verdict_F1_wrong", _decision),
)

refine_decision = (refine_acc, refine_precision, refine_recall, refine_f1)
"""For methods whose first decision is whether to refine: what was not kept was refined."""

edit_ratio = metrics.Metric(
    "edit_ratio",
    "Edits",
    "Mean edit distance of the first two answers over the length of both: "
    "mean(edits / (|a1| + |a2|)) (2409.12917).",
    direction="none",
    unit="fraction",
    group="decomposition",
    compute=_over("verdict_score", _edits),
)
"""For methods that note it as the fact `edit_ratio`."""
