"""What looking again gained for its cost, and beyond what asking independently would have given."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from evaluators.metrics.estimate import Estimate, null
from evaluators.metrics.estimators import bootstrapped, cluster_totals
from evaluators.metrics.measures import (
    FIRST_UNKNOWN,
    NO_EXTRA,
    NONE_RIGHT,
    NONE_WRONG,
    NOTHING_SCORED,
    ONE_ANSWER,
    per_net_fix,
)
from evaluators.metrics.metric import Metric
from evaluators.metrics.trajectory import Graded, Trajectory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

CALLS_UNKNOWN = "calls not recorded"
NO_REPLICATE = "no question was asked more than once"

Compute = Callable[[Sequence[Trajectory]], Estimate]
Extra = Callable[[Graded], "tuple[Floats, Bools]"]


def _calls(graded: Graded) -> tuple[Floats, Bools]:
    """Return the calls beyond those that the first answer needs: one where nobody says."""
    calls, known = graded.cost("calls")
    first, told = graded.cost("calls_first")
    first[~told] = 1
    return (calls - first).clip(0), known


def _tokens(graded: Graded) -> tuple[Floats, Bools]:
    """Return thousands of generated tokens beyond the first answer."""
    total, known = graded.cost("tokens_out")
    first, also = graded.cost("tokens_first")
    return (total - first) / 1000, known & also


def _paid(extra: Extra, unknown: str, body: Callable[[Graded, Floats], Estimate]) -> Compute:
    """Guard a measure of gains against costs: two answers, and costs of every sample."""

    def compute(trajectories: Sequence[Trajectory]) -> Estimate:
        graded = Graded.of(trajectories)
        if not graded.n or graded.turns < 2:
            reason = ONE_ANSWER if graded.n else NOTHING_SCORED
            return null(reason, n=graded.n, n_total=graded.n_total)
        spent, known = extra(graded)
        if not known.all():
            return null(unknown, n=graded.n, n_total=graded.n_total)
        return body(graded, spent)

    return compute


def _gain(graded: Graded, spent: Floats) -> Estimate:
    moves = graded.right(-1).astype(float) - graded.right(0)
    if not spent.sum():
        return null(NO_EXTRA, n=graded.n, n_total=graded.n_total, denominator=0)
    base = _quotient(graded, moves, spent)
    return bootstrapped(base, cluster_totals(graded.clusters, moves, spent), _ratio)


def _quotient(graded: Graded, above: Floats, below: Floats) -> Estimate:
    top, bottom = float(above.sum()), float(below.sum())
    return Estimate(
        top / bottom, n=graded.n, n_total=graded.n_total, numerator=top, denominator=bottom
    )


def _ratio(sums: Floats) -> Floats:
    result: Floats = sums[:, 0] / sums[:, 1]
    return result


def _excess(of: Literal["kept", "fixed"]) -> Compute:
    """CL or CS less what a second answer blind to the first would give (methods of 2411.00640).

    From questions asked K >= 2 times, c of them right at first. Unbiased: P^2 by c(c-1) / K(K-1)
    and P(1-P) by c(K-c) / K(K-1); each question weighs as many times as it was asked.
    """
    empty = NONE_RIGHT if of == "kept" else NONE_WRONG

    def compute(trajectories: Sequence[Trajectory]) -> Estimate:
        import numpy as np

        graded = Graded.of(trajectories)
        if graded.turns < 2:
            reason = ONE_ANSWER if graded.n else NOTHING_SCORED
            return null(reason, n=graded.n, n_total=graded.n_total)
        rows, clusters = _by_question(graded, of)
        if not rows:
            return null(NO_REPLICATE, n=graded.n, n_total=graded.n_total)
        totals = cluster_totals(np.array(clusters), *np.array(rows, dtype=float).T)
        hits, expected, below, used = totals.sum(axis=0)
        if not below:
            return null(empty, n=int(used), n_total=graded.n_total, denominator=0)
        base = Estimate(float((hits - expected) / below), n=int(used), n_total=graded.n_total)
        return bootstrapped(base, totals, lambda sums: (sums[:, 0] - sums[:, 1]) / sums[:, 2])

    return compute


def _by_question(
    graded: Graded, of: Literal["kept", "fixed"]
) -> tuple[list[tuple[float, float, float, float]], list[int]]:
    """Return hits, expected hits, chances and samples of every question asked more than once."""
    asked: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, trajectory in enumerate(graded.scored):
        asked[trajectory.task, trajectory.id].append(index)
    first, last = graded.right(0), graded.right(-1)
    rows, numbers = list[tuple[float, float, float, float]](), list[int]()
    seen: dict[int, int] = {}
    for draws in asked.values():
        k, right = len(draws), int(first[draws].sum())
        if k < 2:
            continue
        chances = right if of == "kept" else k - right
        hits = int((last[draws] & (first[draws] == (of == "kept"))).sum())
        others = right - 1 if of == "kept" else right
        rows.append((hits, chances * others / (k - 1), chances, k))
        numbers.append(seen.setdefault(int(graded.clusters[draws[0]]), len(seen)))
    return rows, numbers


def _metric(
    name: str, title: str, definition: str, compute: Compute, *, unit: str = "ratio",
    direction: str = "higher",
) -> Metric:  # fmt: skip
    return Metric(
        name, title, definition, direction=direction, unit=unit,  # type: ignore[arg-type]  # literals spelt below
        group="efficiency", compute=compute,
    )  # fmt: skip


efficiency: tuple[Metric, ...] = (
    _metric(
        "gain_per_call",
        "Gain per call",
        "Answers gained per call beyond those of the first answer: "
        "sum(c_T - c_1) / sum(calls - calls_first).",
        _paid(_calls, CALLS_UNKNOWN, _gain),
    ),
    _metric(
        "gain_per_1k_tokens",
        "Gain per 1k tokens",
        "Answers gained per 1,000 generated tokens beyond the first answer: "
        "1000 sum(c_T - c_1) / sum(extra tokens).",
        _paid(_tokens, FIRST_UNKNOWN, _gain),
    ),
    _metric(
        "calls_per_net_fix",
        "Calls per net fix",
        "Calls beyond those of the first answer per answer fixed on balance: "
        "sum(calls - calls_first) / (n_ic - n_ci).",
        _paid(_calls, CALLS_UNKNOWN, per_net_fix),
        unit="calls",
        direction="lower",
    ),
    _metric(
        "CL_excess",
        "CL beyond chance",
        "CL less that of an independent second draw, from questions asked several times: "
        "CL - sum(P^2) / sum(P).",
        _excess("kept"),
        unit="difference",
    ),
    _metric(
        "CS_excess",
        "CS beyond chance",
        "CS less that of an independent second draw, from questions asked several times: "
        "CS - sum(P (1 - P)) / sum(1 - P).",
        _excess("fixed"),
        unit="difference",
    ),
)
"""What looking again was worth, per cost and beyond drawing again."""

StepLabel = Literal["kept", "spoilt", "fixed", "stuck", "wandered"]


def step_labels(trajectory: Trajectory) -> tuple[StepLabel | None, ...]:
    """Label every step from one answer to the next.

    `kept` right; `spoilt`, right to wrong; `fixed`, wrong to right; `stuck` with the same wrong
    answer; `wandered` to another wrong one. None where a wrong answer's change was not recorded.
    """
    states, changed = trajectory.correct, trajectory.changed
    return tuple(
        _label(states[i - 1], states[i], changed[i] if changed else None)
        for i in range(1, len(states))
    )


def _label(before: bool, after: bool, changed: bool | None) -> StepLabel | None:
    match before, after, changed:
        case True, True, _:
            return "kept"
        case True, False, _:
            return "spoilt"
        case False, True, _:
            return "fixed"
        case _, _, None:
            return None
    return "wandered" if changed else "stuck"
