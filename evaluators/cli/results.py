"""What an evaluation came to, printed: every method's figures and what it is held against."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evaluators.controls import TITLES, ControlComparison, corrected
from evaluators.metrics import Decomposition, Estimate, Trajectory, count_steps, decompose
from evaluators.metrics.steps import StepCount
from evaluators.model import Failure, SampleResult

FAR = 1.2
"""Compute that differs by more than this factor is said in words."""

if TYPE_CHECKING:
    from rich.console import Console

    from evaluators.engine import Repeated
    from evaluators.session import Method, Plan, Report


def print_json(plan: Plan, report: Report) -> None:
    """Print everything as one JSON object."""
    rows = [
        {
            "evaluator": method.name,
            "task": task,
            **found.to_json(),
            "step_labels": [dict(step) for step in _steps(report, method, task)],
            "controls": controls_json(report.compared(method.name, task)),
        }
        for method, task, found in _decompositions(plan, report)
    ]
    model = {"label": report.model.label, "fingerprint": report.fingerprint}
    roles = {role: info.label for role, info in report.roles.items()}
    told = {
        "repeated": {task: found.to_json() for task, found in report.repeated.items()},
        "model": model,
        "roles": roles,
        "results": rows,
        "controls": _controls_json(plan, report),
    }
    print(json.dumps(told, indent=2))


def controls_json(compared: Sequence[ControlComparison]) -> list[dict[str, Any]]:
    """Return a result's controls as plain JSON, p-values corrected beside the raw ones."""
    pairs = zip(compared, corrected(compared), strict=True)
    return [{**one.to_json(), "p_holm": p} for one, p in pairs]


def _controls_json(plan: Plan, report: Report) -> dict[str, Any]:
    generated, computed = tokens_of_controls(report)
    macro = {
        method.name: {kind: e.to_json() for kind, e in report.macro(method.name).items()}
        for method in plan.methods
        if len(report.tasks) > 1
    }
    return {"tokens_out": generated, "tokens_computed": computed, "macro": macro}


def print_tables(plan: Plan, report: Report) -> None:
    """Print a table per method and task, each with its controls below."""
    from rich.console import Console

    console = Console()
    for method, task, found in _decompositions(plan, report):
        _print_method(console, report, method, task=task, found=found)
        print_controls(console, f"{method.name} on {task}", report.compared(method.name, task))
    for method in plan.methods:
        if len(report.tasks) > 1 and (macro := report.macro(method.name)):
            print_macro(console, method.name, macro, tasks=len(report.tasks))
    for task, again in report.repeated.items():
        console.print(_noise(task, again), highlight=False)
    if report.control_methods:
        generated, computed = tokens_of_controls(report)
        line = f"Controls took {generated:,} generated tokens; {computed:,} had to be computed."
        console.print(f"\n{line}", highlight=False)


def _print_method(
    console: Console, report: Report, method: Method, *, task: str, found: Decomposition
) -> None:
    from evaluators.cli.render import (
        decomposition_table,
        extraction_hint,
        flips_line,
        steps_table,
    )

    given = {key: value for key, value in method.params.items() if value is not None}
    shown = ", ".join(f"{key}={value}" for key, value in given.items())
    console.print()
    title = f"{method.name}({shown}) on {task}{_others(report)}"
    console.print(decomposition_table(title, found))
    console.print(flips_line(found), highlight=False)
    if len(steps := _steps(report, method, task)) > 1:
        console.print(steps_table(steps), highlight=False)
    for line in _failures(report.results[method.name, task]):
        console.print(line, style="yellow", highlight=False)
    if hint := extraction_hint(found, report.tasks[task]):
        console.print(hint, style="yellow", highlight=False)


def _noise(task: str, again: Repeated) -> str:
    """Say how often an equal greedy call gave another answer."""
    changed, flipped = again.changed, again.flipped
    if flipped.value is None:
        return f"{task}, put again: {flipped.reason}."
    return (
        f"{task}, put again greedily: {changed.numerator:g} of {changed.n} answers read otherwise,"
        f" {flipped.numerator:g} are judged otherwise"
        f" ({flipped.value:.3f}, 95 % {flipped.low:.3f} … {flipped.high:.3f}, {flipped.method})."
    )


def print_controls(console: Console, title: str, compared: Sequence[ControlComparison]) -> None:
    """Print what a result is held against, and why what is missing is missing."""
    from evaluators.cli.render import controls_table

    if not compared:
        return
    if not all(one.control.missing for one in compared):
        console.print()
        console.print(controls_table(f"{title}, held against", compared), highlight=False)
    for line in _notes(compared):
        console.print(line, highlight=False, markup=False)


def _notes(compared: Sequence[ControlComparison]) -> Iterator[str]:
    """Say which controls fell short of equal compute, and why others are missing."""
    yield from dict.fromkeys(
        f"{one.control.label}: {one.control.note}." for one in compared if one.control.note
    )
    for one in compared:
        if one.matched is not None and not 1 / FAR < one.matched < FAR and not one.control.note:
            of = "tokens" if one.kind == "sc_tokens" else "calls"
            yield f"{one.control.label} took {one.matched:.2f} times the method's {of}."
    missing: dict[str, list[str]] = defaultdict(list)
    for one in compared:
        if one.control.missing:
            missing[one.control.reason].append(TITLES[one.kind])
    for reason, titles in missing.items():
        yield f"Not held against {', '.join(titles)}: {reason}."


def print_macro(
    console: Console, method: str, macro: Mapping[str, Estimate], *, tasks: int
) -> None:
    """Print the mean over tasks of a method's differences from its controls."""
    from evaluators.cli.render import figures_table

    names = {str(kind): words for kind, words in TITLES.items()}
    title = f"{method} less its controls, mean over {tasks} tasks"
    console.print()
    console.print(figures_table(title, macro, title_of=names.__getitem__), highlight=False)


def tokens_of_controls(report: Report) -> tuple[int, int]:
    """Return the tokens that controls generated, and those of them that nobody had before."""
    names = {method.name for method in report.control_methods}
    found = [r for (run, _), results in report.results.items() if run in names for r in results]
    return sum(r.tokens_out for r in found), sum(r.tokens_computed for r in found)


def _decompositions(plan: Plan, report: Report) -> Iterator[tuple[Method, str, Decomposition]]:
    for method in plan.methods:
        for task in report.tasks:
            trajectories = map(Trajectory.from_result, report.results[method.name, task])
            yield method, task, decompose(trajectories, metrics=method.evaluator.metrics)


def _steps(report: Report, method: Method, task: str) -> list[Mapping[StepCount, int]]:
    return count_steps(map(Trajectory.from_result, report.results[method.name, task]))


def _failures(results: Sequence[SampleResult]) -> list[str]:
    """Say why samples have no score: how many for which reason, with an example."""
    failures = [result.failure for result in results if result.failure]
    by_error = Counter(failure.error for failure in failures)
    return [
        f"{count} without a score ({error}), for example: {_last_line(failures, error)}"
        for error, count in by_error.most_common()
    ]


def _last_line(failures: Sequence[Failure], error: str) -> str:
    detail = next(failure.detail for failure in failures if failure.error == error)
    return (detail.strip().splitlines() or ["no reason given"])[-1]


def _others(report: Report) -> str:
    """Name the models that took part beside the actor."""
    named = [f"{info.label} as {role}" for role, info in report.roles.items()]
    return f", with {' and '.join(named)}" if named else ""
