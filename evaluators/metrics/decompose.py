"""Everything about one task: the cells, every metric, the test and the identities that tie them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from evaluators.metrics.catalogue import AT_A_TURN, cost, decomposition, quality
from evaluators.metrics.efficiency import efficiency
from evaluators.metrics.estimate import Estimate, null
from evaluators.metrics.estimators import flips
from evaluators.metrics.intervals import Cells, McNemar, clustered_se, mcnemar, student_p
from evaluators.metrics.metric import Metric
from evaluators.metrics.trajectory import Graded, Trajectory
from evaluators.metrics.verification import verification
from evaluators.model import Json

SMALL_DENOMINATOR = 30
"""CL or CS over fewer answers than this must not top a board."""


@dataclass(frozen=True, slots=True)
class Significance:
    """Whether the last answers are better or worse than the first by more than chance."""

    p: float | None
    """Two-sided; None where it cannot be tested."""
    test: str
    """`mcnemar exact`, or `clustered t, paired` where samples are not independent."""

    def to_json(self) -> dict[str, Json]:
        """Return the fields by name."""
        return {"p": self.p, "test": self.test}


@dataclass(frozen=True, slots=True)
class Decomposition:
    """What happened between first and last answers on one task."""

    task: str
    n: int
    """Scored samples."""
    n_total: int
    """Samples asked for."""
    clusters: int
    """Independent groups among the scored samples."""
    turns: int
    """Answer states of the longest trajectory."""
    cells: Cells | None
    """From the first answer to the last; None with fewer than two answers."""
    steps: tuple[Cells, ...]
    """From each answer to the next."""
    estimates: Mapping[str, Estimate]
    """By metric name."""
    mcnemar: McNemar | None
    significance: Significance
    flags: tuple[str, ...]
    """`rss_assumption_violated`, `repeated_samples`, `few_right_at_first`, `few_wrong_at_first`,
    `unscored_samples`."""

    def __getitem__(self, name: str) -> Estimate:
        return self.estimates[name]

    def to_json(self) -> dict[str, Json]:
        """Return plain JSON, estimates by metric name."""
        return {
            "task": self.task,
            "n": self.n,
            "n_total": self.n_total,
            "clusters": self.clusters,
            "turns": self.turns,
            "cells": self.cells.to_json() if self.cells else None,
            "steps": [cells.to_json() for cells in self.steps],
            "estimates": {name: e.to_json() for name, e in self.estimates.items()},
            "mcnemar": self.mcnemar.to_json() if self.mcnemar else None,
            "significance": self.significance.to_json(),
            "flags": list(self.flags),
        }


def decompose(
    trajectories: Iterable[Trajectory],
    *,
    total: int | None = None,
    turns: int | None = None,
    metrics: Iterable[Metric] = (),
) -> Decomposition:
    """Compute every bundled metric, and those given besides, over the trajectories of one task.

    Args:
        total: Samples that were asked for, if some are not among the trajectories at all.
        turns: Answer states of the longest trajectory of the run, if longer than any here.

    Raises:
        ValueError: The trajectories belong to several tasks; those are averaged by `macro`.
        ArithmeticError: An identity between the figures does not hold, which is a bug.
    """
    graded = Graded(trajectories, total=total, turns=turns)
    tasks = sorted({t.task for t in graded})
    if len(tasks) > 1:
        msg = f"trajectories of several tasks: {', '.join(tasks)}"
        raise ValueError(msg)
    bundled = [*_bundled(graded.turns), *(verification if _judged(graded) else ())]
    estimates = {metric.name: metric.compute(graded) for metric in bundled}
    own = [metric for metric in metrics if metric.name not in estimates]
    estimates |= {metric.name: contained(metric, graded) for metric in own}
    cells, steps = _cells(graded)
    if cells:
        check_identities(cells, estimates)
    return Decomposition(
        task=tasks[0] if tasks else "",
        n=graded.n,
        n_total=graded.n_total,
        clusters=graded.cluster_count,
        turns=graded.turns,
        cells=cells,
        steps=steps,
        estimates=estimates,
        mcnemar=mcnemar(int(cells.ci), int(cells.ic)) if cells else None,
        significance=_significance(graded, cells),
        flags=tuple(_flags(graded, cells)),
    )


def _bundled(turns: int) -> list[Metric]:
    every_turn = [make(t) for make in AT_A_TURN.values() for t in range(2, turns + 1)]
    return [*decomposition, *cost, *quality, *efficiency, *every_turn]


def _judged(graded: Graded) -> bool:
    """Tell whether anything was said about any answer: figures of verdicts need some."""
    return any(trajectory.judgements for trajectory in graded)


def contained(metric: Metric, graded: Graded) -> Estimate:
    """Compute a stranger's metric; its mistakes must not take the others' figures along."""
    try:
        estimate = metric.compute(graded)
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything
        return null(f"{metric.name} raised {type(error).__name__}: {error}", n_total=graded.n_total)
    if type(estimate) is not Estimate:
        return null(f"{metric.name} returned no estimate", n_total=graded.n_total)
    return estimate


def _cells(graded: Graded) -> tuple[Cells | None, tuple[Cells, ...]]:
    if not graded.n or graded.turns < 2:
        return None, ()
    steps = (flips(graded.right(t - 1), graded.right(t)) for t in range(1, graded.turns))
    return flips(graded.right(0), graded.right(-1)), tuple(steps)


def _significance(graded: Graded, cells: Cells | None) -> Significance:
    if cells is None:
        return Significance(None, "none")
    if graded.independent:
        return Significance(mcnemar(int(cells.ci), int(cells.ic)).p_exact, "mcnemar exact")
    moves = graded.right(-1).astype(float) - graded.right(0)
    se = clustered_se(moves, graded.clusters)
    if se is None:
        return Significance(None, "none")
    p = student_p(float(moves.mean()), se, graded.cluster_count - 1)
    return Significance(p, "clustered t, paired")


def _flags(graded: Graded, cells: Cells | None) -> Iterable[str]:
    if graded.n < graded.n_total:
        yield "unscored_samples"
    if not graded.independent:
        yield "repeated_samples"
    if cells is None:
        return
    right, wrong = int(cells.cc + cells.ci), int(cells.ic + cells.ii)
    if right < SMALL_DENOMINATOR:
        yield "few_right_at_first"
    if wrong < SMALL_DENOMINATOR:
        yield "few_wrong_at_first"
    if right and wrong:
        first = Fraction(right, right + wrong)
        kept, fixed = Fraction(int(cells.cc), right), Fraction(int(cells.ic), wrong)
        if not fixed <= first <= kept:
            yield "rss_assumption_violated"


def check_identities(cells: Cells, estimates: Mapping[str, Estimate]) -> None:
    """Tie the estimates to the cells: exact on counts, and the published identities between them.

    Raises:
        ArithmeticError: One of them does not hold.
    """
    shares = {name: _fraction(estimates[name]) for name in _COUNTED}
    first, last, up, down = (shares[name] for name in ("acc@1", "acc@last", "i2c_all", "c2i_all"))
    kept, fixed = shares["CL"], shares["CS"]
    if first is None or last is None or up is None or down is None:
        msg = "a share of all samples is null"
        raise ArithmeticError(msg)
    retained, mended = first * (kept or 0), (1 - first) * (fixed or 0)
    claims = {
        "cells add up to acc@1 and acc@last": (first, last)
        == (
            Fraction(int(cells.cc + cells.ci), int(cells.n)),
            Fraction(int(cells.cc + cells.ic), int(cells.n)),
        ),
        "acc@last = acc@1 + i2c_all - c2i_all": last == first + up - down,
        "delta = acc@last - acc@1": _fraction(estimates["delta"]) == last - first,
        "acc@last = acc@1 CL + (1 - acc@1) CS": last == retained + mended,
        "i2c_all = (1 - acc@1) CS": up == mended,
        "c2i_all = acc@1 (1 - CL)": down == first - retained,
        "RSS = (acc@last - acc@1^2) / (2 acc@1 (1 - acc@1))": _fraction(estimates["RSS"])
        == _rss(first, last),
    }
    broken = [claim for claim, holds in claims.items() if not holds]
    if broken:
        msg = f"identity broken: {'; '.join(broken)}"
        raise ArithmeticError(msg)


_COUNTED = ("acc@1", "acc@last", "i2c_all", "c2i_all", "CL", "CS")


def _fraction(estimate: Estimate) -> Fraction | None:
    """Return the estimate's counts as an exact fraction, if its value is really their quotient."""
    if estimate.value is None or estimate.numerator is None or estimate.denominator is None:
        return None
    exact = Fraction(int(estimate.numerator), int(estimate.denominator))
    if not math.isclose(float(exact), estimate.value, rel_tol=1e-12, abs_tol=1e-15):
        msg = f"{estimate.value} is not {exact}"
        raise ArithmeticError(msg)
    return exact


def _rss(first: Fraction, last: Fraction) -> Fraction | None:
    """Return RSS by its definition; above 1/2 exactly when `last` is above `first`."""
    return None if first in {0, 1} else (last - first**2) / (2 * first * (1 - first))


def macro(
    decompositions: Mapping[str, Decomposition] | Sequence[Decomposition],
) -> dict[str, Estimate]:
    """Average every metric over tasks, each task with the same weight.

    Tasks where a metric is null are left out and named. The standard error is
    sqrt(sum of SE^2) / tasks; the interval adds the squares of the tasks' own intervals in the same
    way, which is ±1.96 SE where those are symmetric and not too narrow where a share is 0 or 1.
    Counts are not averaged.
    """
    tasks = decompositions.values() if isinstance(decompositions, Mapping) else decompositions
    return macro_of({decomposition.task: decomposition.estimates for decomposition in tasks})


def macro_of(by_task: Mapping[str, Mapping[str, Estimate]]) -> dict[str, Estimate]:
    """Average named estimates over tasks, as `macro` does."""
    found = dict.fromkeys(name for estimates in by_task.values() for name in estimates)
    return {name: _macro(name, by_task) for name in found if not re.fullmatch(r"n_[ci]{2}", name)}


def _macro(name: str, by_task: Mapping[str, Mapping[str, Estimate]]) -> Estimate:
    found = {task: estimates[name] for task, estimates in by_task.items() if name in estimates}
    used = {task: e for task, e in found.items() if e.value is not None}
    left_out = sorted(by_task.keys() - used.keys())
    n, n_total = sum(e.n for e in used.values()), sum(e.n_total for e in found.values())
    reason = (
        f"{len(left_out)} of {len(by_task)} tasks left out: {', '.join(left_out)}"
        if left_out
        else ""
    )
    if not used:
        reasons = sorted({e.reason for e in found.values()})
        return null(f"null in every task: {'; '.join(reasons)}", n_total=n_total)
    count = len(used)
    value = math.fsum(e.value or 0.0 for e in used.values()) / count
    ses = [e.se for e in used.values()]
    se = None if None in ses else math.sqrt(math.fsum(s**2 for s in ses if s is not None)) / count
    return Estimate(
        value,
        *_macro_interval(value, list(used.values())),
        n=n,
        n_total=n_total,
        se=se,
        method="macro",
        reason=reason,
    )


def _macro_interval(
    value: float, estimates: Sequence[Estimate]
) -> tuple[float | None, float | None]:
    if not all(e.has_interval for e in estimates):
        return None, None
    reach_down = math.hypot(*((e.value or 0.0) - (e.low or 0.0) for e in estimates)) / len(
        estimates
    )
    reach_up = math.hypot(*((e.high or 0.0) - (e.value or 0.0) for e in estimates)) / len(estimates)
    return value - reach_down, value + reach_up
