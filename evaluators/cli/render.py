"""Tables of estimates for a terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from evaluators.controls import TITLES, corrected
from evaluators.metrics import STEP_COUNTS, Estimate, get, names

if TYPE_CHECKING:
    from evaluators.controls import ControlComparison
    from evaluators.formats.comparing import Pairing
    from evaluators.metrics import Decomposition
    from evaluators.metrics.steps import StepCount
    from evaluators.ports import TaskInfo

SHOWN = (
    "acc@1", "acc@last", "delta", "CL", "CS", "RSS", "i2c_all", "c2i_all", "change_rate",
    "parse_fail@last", "truncated@last", "unscored", "calls", "tokens_in", "tokens_out",
)  # fmt: skip
"""Rows of the table, in reading order; the rest is in the JSON."""

JUDGED = (
    "verdict_acc", "verdict_F1_wrong", "verdict_unparsed", "location_acc", "location_F1",
)  # fmt: skip
"""Rows about verdicts, each where it has a value."""

WHERE_KNOWN = ("CL_excess", "CS_excess", "tokens_per_net_fix")
"""Rows that stand only where there is a number: most runs ask once, and few mend on balance."""

_EVERY_RUN = {"decomposition", "cost", "quality", "efficiency", "verification"}
"""Groups of metrics that every run gets."""

MANY_UNPARSED = 0.05
"""Share of answers without an extraction above which the figures say little of the model."""

CHANCE = 0.05
"""What is as likely as this without any difference is shown dimmed."""

MISSING = "–"
"""Shown where there is no number; the reason stands beside it."""


def decomposition_table(title: str, found: Decomposition) -> Table:
    """Return a table with value, interval, counts and method of each estimate.

    Figures that need two answers are left out where there is one.
    """
    table = _table(title, "", "value", "95 % interval", "of", "interval by")
    judged = [name for name in (*WHERE_KNOWN, *JUDGED) if name in found.estimates]
    told = [name for name in judged if found.estimates[name].value is not None]
    for name in (*SHOWN, *told, *_own(found)):
        estimate = found.estimates[name]
        if estimate.value is not None or found.cells is not None:
            table.add_row(get(name).title, *_cells(name, estimate))
    return table


def _own(found: Decomposition) -> list[str]:
    """Return metrics that the evaluator asks for by a group of their own."""
    groups = {name: get(name).group for name in found.estimates if name in names()}
    return [name for name, group in groups.items() if group not in _EVERY_RUN]


def figures_table(
    title: str, figures: Mapping[str, Estimate], *, title_of: Callable[[str], str]
) -> Table:
    """Return a table with value, interval, counts and method of named estimates."""
    table = _table(title, "", "value", "95 % interval", "of", "interval by")
    for name, e in figures.items():
        counted = e.numerator is not None and e.denominator is not None
        of = f"{e.numerator:g}/{e.denominator:g}" if counted else f"{e.n}/{e.n_total}"
        value, why = _value(e), e.method if e.has_interval else e.reason
        table.add_row(title_of(name), value, _interval(e), of, why)
    return table


def flips_line(found: Decomposition) -> str:
    """Return one line that counts what became of first answers, with the test on it."""
    if found.cells is None:
        return "One answer per sample: nothing to compare it with."
    c = found.cells
    flips = (
        f"right→right {c.cc:g}, right→wrong {c.ci:g}, wrong→right {c.ic:g}, wrong→wrong {c.ii:g}"
    )
    p = found.significance.p
    return f"{flips}; {found.significance.test} p = {p:.3g}" if p is not None else flips


def steps_table(steps: Sequence[Mapping[StepCount, int]]) -> Table:
    """Return what became of answers at every step; labels that never occur are left out."""
    labels = [label for label in STEP_COUNTS if any(step[label] for step in steps)]
    table = _table("", "", *labels)
    for number, step in enumerate(steps, start=1):
        table.add_row(f"answer {number} → {number + 1}", *(str(step[label]) for label in labels))
    return table


def extraction_hint(found: Decomposition, task: TaskInfo) -> str:
    """Return a warning when many answers could not be extracted; empty when few were lost."""
    unparsed = found.estimates["parse_fail@last"]
    if unparsed.value is None or unparsed.value <= MANY_UNPARSED:
        return ""
    others = [name for name in task.filters if name != task.filter]
    advice = f"; --filter {' or '.join(others)} reads answers otherwise" if others else ""
    share = f"{unparsed.numerator:g} of {unparsed.denominator:g}"
    return f"The filter {task.filter!r} found no answer in {share} last replies{advice}."


def _cells(name: str, estimate: Estimate) -> Sequence[str]:
    of = _of(name, estimate)
    if estimate.value is None:
        return MISSING, "", of, estimate.reason
    return _number(estimate.value), _interval(estimate), of, estimate.method


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{_number(estimate.low)} … {_number(estimate.high)}"


def _of(name: str, estimate: Estimate) -> str:
    """Return the counts of a share, else how many samples of how many."""
    share = get(name).unit == "fraction"
    if share and estimate.denominator is not None and estimate.numerator is not None:
        return f"{estimate.numerator:g}/{estimate.denominator:g}"
    return f"{estimate.n}/{estimate.n_total}"


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def controls_table(title: str, compared: Sequence[ControlComparison]) -> Table:
    """Return a method's accuracy and cost above those of its controls, with the differences.

    P-values are corrected by Holm for the number of controls; what may be chance is dimmed.
    """
    table = _table(title, "", "right", "gain", "95 % interval", "p", "calls", "tokens", "n")
    table.padding = (0, 1, 0, 0)
    table.caption, table.caption_justify = "gain: the method less the control; p after Holm", "left"
    for column in table.columns[1:]:
        column.no_wrap = True
    by_run: dict[str, list[ControlComparison]] = defaultdict(list)
    ps = {one.control.label: p for one, p in zip(compared, corrected(compared), strict=True)}
    for one in compared:
        if not one.control.missing:
            by_run[one.control.label].append(one)
    best = max((same[0] for same in by_run.values()), key=lambda one: one.paired.n)
    costs = [_value(best.of_method(name)) for name in ("calls", "tokens_out")]
    itself = best.of_method("acc")
    table.add_row("the method", _value(itself), "", "", "", *costs, f"{itself.n}/{itself.n_total}")
    for label, (one, *others) in by_run.items():
        p = ps[label]
        table.add_row(
            f"{label}\n{', '.join(TITLES[same.kind] for same in (one, *others))}",
            _value(one.of_control("acc")),
            _signed(one.difference),
            _interval(one.difference),
            MISSING if p is None else f"{p:.3g}",
            *(_value(one.of_control(name)) for name in ("calls", "tokens_out")),
            f"{one.paired.n}/{one.paired.n_total}",
            style="dim" if p is None or p >= CHANCE else None,
        )
    return table


def _signed(estimate: Estimate) -> str:
    return MISSING if estimate.value is None else f"{estimate.value:+.3f}"


def before_and_after(
    title: str, before: Decomposition, after: Decomposition, names: Sequence[str]
) -> Table:
    """Return a table of the same figures twice, each with interval and counts."""
    table = _table(title, "", "before", "95 % interval", "of", "after", "95 % interval", "of")
    for name in names:
        cells = [_cells(name, found[name])[:3] for found in (before, after)]
        table.add_row(get(name).title, *cells[0], *cells[1])
    return table


def pairing_table(title: str, pairing: Pairing, *, p: float | None) -> Table:
    """Return both sides' figures on the shared samples, and the paired differences.

    Args:
        p: The p-value of the last answers, corrected for the number of comparisons.
    """
    table = _table(title, "", "left", "right", "right − left", "95 % interval", "n", "interval by")
    sides = pairing.left_alone, pairing.right_alone
    rows = {**pairing.comparison.differences, **pairing.costs}
    for name, difference in rows.items():
        values = [_value(side[name]) for side in sides]
        told = (_value(difference), _interval(difference), f"{difference.n}/{difference.n_total}")
        why = difference.method if difference.value is not None else difference.reason
        table.add_row(get(name).title, *values, *told, why)
    test = pairing.comparison.significance
    if test.p is not None:
        table.caption = f"Last answers: {test.test} p = {test.p:.3g}" + (
            f", {p:.3g} after Holm" if p is not None and p != test.p else ""
        )
        table.caption_justify = "left"
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column in {"", "interval by"} else "right")
    return table


def _value(estimate: Estimate) -> str:
    return MISSING if estimate.value is None else _number(estimate.value)
