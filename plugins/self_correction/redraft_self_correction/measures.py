"""What acting on a verdict did to answers that were right."""

from collections.abc import Sequence

from evaluators.api import metrics


def _spoilt(trajectories: Sequence[metrics.Trajectory]) -> metrics.Estimate:
    import numpy as np

    told = [t for t in trajectories if t.scored and t.judgements]
    if not told:
        return metrics.null("no verdict was given", n_total=len(trajectories))
    firsts = metrics.Verdicts(
        [t.judgements[0] for t in told],
        clusters=[t.question for t in told],
        n_total=len(trajectories),
    )
    lost = np.array([not t.correct[1] if len(t.correct) > 1 else False for t in told], dtype=bool)
    doubted = firsts.where(lambda judged: judged.correct and judged.verdict == "wrong")
    return firsts.share(lost, doubted, "no right answer was called wrong")


p_c2i = metrics.Metric(
    "p_c2i",
    "Spoilt when doubted",
    "Of the first answers that were right and called wrong, the share whose next answer is wrong: "
    "spoilt / doubted (2502.19613).",
    direction="lower",
    unit="fraction",
    group="verification",
    compute=_spoilt,
)
"""For methods whose first verdict is about the first answer, and whose second answer acts on it."""
