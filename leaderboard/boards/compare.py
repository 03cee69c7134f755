"""Runs on the same samples side by side: paired differences, and the samples that differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.core.cache import cache

from evaluators.formats.comparing import cost_differences
from evaluators.metrics import Comparison, Estimate, Trajectory, compare, get, holm
from evaluators.metrics.trajectory import Graded
from leaderboard.boards.figures import figure, tested
from leaderboard.boards.models import TaskEntry
from leaderboard.core.rendering import Figure
from leaderboard.runs.models import Run, SampleResult

MOST = 3
"""Runs on one page; the first is the reference."""

PRIMARY_METRIC = "acc@last"
"""What the test of a comparison is about."""

SHOWN = 50
"""Samples listed per task."""

SHOWS = ("different", "left", "right", "all")
"""Which samples are listed: last answers that differ, or right on one side only."""

COLUMNS = (
    "task", "sample_id", "replicate", "cluster", "flip", "calls", "tokens_in", "tokens_out",
    "tokens_computed", "id", "position",
)  # fmt: skip

Key = tuple[str, int]
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """One figure of both sides, and the paired difference."""

    name: str
    title: str
    definition: str
    left: Figure
    right: Figure
    difference: Figure
    estimate: Estimate
    """Of the difference."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One sample in both runs."""

    sample: str
    replicate: int
    left: int
    """Key of its row."""
    right: int
    before: str
    """First and last answer on the left: `cc`, `ci`, `ic` or `ii`."""
    after: str
    position: int


@dataclass(frozen=True, slots=True)
class Told:
    """One task of two runs."""

    task: str
    n: int
    only_left: int
    only_right: int
    lines: tuple[Line, ...]
    p: float | None
    test: str
    pairs: tuple[Pair, ...]
    """Every sample that was scored in both, in the task's order."""
    problem: str = ""
    """Why the task is not compared."""

    def listed(self, show: str) -> list[Pair]:
        """Return the samples of a kind, in the task's order."""
        return [pair for pair in self.pairs if _is(pair, show)]


@dataclass(frozen=True, slots=True)
class Shown:
    """One task as the page shows it."""

    told: Told
    lines: tuple[Line, ...]
    p_holm: float | None
    pairs: Sequence[Pair]
    total: int
    """Samples of the kind, of which `pairs` are the first."""


@dataclass(frozen=True, slots=True)
class Versus:
    """The reference against one other run."""

    left: Run
    right: Run
    tasks: list[Shown]


def versus(runs: Sequence[Run], show: str) -> list[Versus]:
    """Compare the first run with each of the others; p-values are corrected for all of them."""
    left, *others = runs
    told = {run.pk: _cached(left, run) for run in others}
    known = [one.p for found in told.values() for one in found if one.p is not None]
    corrected = iter(holm(known))
    return [
        Versus(left, run, [_shown(one, corrected, show) for one in told[run.pk]]) for run in others
    ]


def _shown(told: Told, corrected: Iterator[float], show: str) -> Shown:
    pairs = told.listed(show)
    p = None if told.p is None else next(corrected)
    return Shown(told, tuple(_tested(line, p) for line in told.lines), p, pairs[:SHOWN], len(pairs))


def _tested(line: Line, p_holm: float | None) -> Line:
    """Colour the difference of the last answers by its test, which is corrected for all tasks."""
    if line.name != PRIMARY_METRIC or line.estimate.value is None:
        return line
    return replace(line, difference=tested(line.difference, line.estimate, p_holm))


def _cached(left: Run, right: Run) -> list[Told]:
    """Return the comparison; completed runs never change, so it is made once."""
    key = f"compare:{left.pk}:{left.manifest_sha256}:{right.pk}:{right.manifest_sha256}"
    found: list[Told] | None = cache.get(key)
    if found is None:
        found = list(_compared(left, right))
        cache.set(key, found, 3600)
    return found


@dataclass(frozen=True, slots=True)
class SharedTask:
    """One task of two runs, with what was scored in both."""

    task: str
    only_left: int
    only_right: int
    rows: tuple[tuple[Row, Row], ...]
    """Of each sample, left and right, in the task's order."""
    left: tuple[Trajectory, ...]
    right: tuple[Trajectory, ...]
    problem: str = ""
    """Why the task cannot be compared; then there are no trajectories."""


def shared_tasks(left: Run, right: Run) -> Iterator[SharedTask]:
    """Yield the tasks of two runs on one suite, paired by sample, without their transcripts."""
    rows = {run.pk: _rows(run) for run in (left, right)}
    for task in sorted(rows[left.pk].keys() & rows[right.pk].keys()):
        a, b = rows[left.pk][task], rows[right.pk][task]
        both = tuple((a[key], b[key]) for key in a if key in b)
        alone = (len(a) - len(both), len(b) - len(both))
        if problem := _problem(task, left, right, n=len(both)):
            yield SharedTask(task, *alone, both, (), (), problem)
            continue
        ours = (row for row, _ in both)
        theirs = (row for _, row in both)
        yield SharedTask(
            task, *alone, both, _trajectories(ours, left, task), _trajectories(theirs, right, task)
        )


def _trajectories(rows: Iterable[Row], run: Run, task: str) -> tuple[Trajectory, ...]:
    turns = _turns(run, task)
    return tuple(_trajectory(row, turns, imported=run.imported) for row in rows)


def _compared(left: Run, right: Run) -> Iterator[Told]:
    for shared in shared_tasks(left, right):
        counts = (len(shared.rows), shared.only_left, shared.only_right)
        if shared.problem:
            yield Told(shared.task, *counts, (), None, "", (), shared.problem)
            continue
        found = compare(shared.left, shared.right)
        test = found.significance
        pairs = tuple(_pair(*rows) for rows in shared.rows)
        lines = tuple(_lines(found, shared.left, shared.right))
        yield Told(shared.task, *counts, lines, test.p, test.test, pairs)


def _rows(run: Run) -> dict[str, dict[Key, Mapping[str, Any]]]:
    """Return the scored rows of a run by task and key, in the tasks' order."""
    scored = SampleResult.objects.filter(run=run, status=SampleResult.Status.OK)
    found: dict[str, dict[Key, Mapping[str, Any]]] = {}
    for row in scored.order_by("task", "position", "replicate").values(*COLUMNS):
        found.setdefault(row["task"], {})[row["sample_id"], row["replicate"]] = row
    return found


def _problem(task: str, left: Run, right: Run, *, n: int) -> str:
    if not n:
        return "no sample was scored in both runs"
    digests = [
        ((run.manifest or {}).get("tasks", {}).get(task) or {}).get("digest")
        for run in (left, right)
    ]
    if all(digests) and digests[0] != digests[1]:
        return "it is not the same task in both runs: questions, settings or grading differ"
    return ""


def _turns(run: Run, task: str) -> int:
    """Return how many answers the longest trajectory has."""
    stored = TaskEntry.objects.filter(entry__run=run, task=task).first()
    turns = stored.decomposition.get("turns", 1) if stored else 2
    return int(turns)


def _trajectory(row: Mapping[str, Any], turns: int, *, imported: str) -> Trajectory:
    """Return what is compared of a row: its first answer and its last."""
    first, last = (letter == "c" for letter in row["flip"])
    unknown = imported and not row["calls"]
    return Trajectory(
        id=row["sample_id"],
        correct=(first, last) if turns > 1 else (first,),
        task=row["task"],
        cluster=row["cluster"],
        replicate=row["replicate"],
        calls=None if unknown else row["calls"],
        tokens_in=None if unknown else row["tokens_in"],
        tokens_out=None if unknown else row["tokens_out"],
        tokens_computed=None if unknown else row["tokens_computed"],
    )


def _pair(left: Mapping[str, Any], right: Mapping[str, Any]) -> Pair:
    return Pair(
        left["sample_id"], left["replicate"], left["id"], right["id"],
        left["flip"], right["flip"], left["position"],
    )  # fmt: skip


def _is(pair: Pair, show: str) -> bool:
    left, right = pair.before[1] == "c", pair.after[1] == "c"
    match show:
        case "different":
            return left != right
        case "left":
            return left and not right
        case "right":
            return right and not left
    return True


def _lines(
    found: Comparison, left: Sequence[Trajectory], right: Sequence[Trajectory]
) -> Iterator[Line]:
    a, b = Graded(left), Graded(right)
    for name, difference in {**found.differences, **cost_differences(left, right)}.items():
        metric = get(name)
        style = "tokens_out" if name == "tokens_computed" else name
        yield Line(
            name,
            metric.title,
            metric.definition,
            figure(metric.compute(a), style),
            figure(metric.compute(b), style),
            _difference(difference, style),
            difference,
        )


def _difference(estimate: Estimate, style: str) -> Figure:
    """Return a difference of shares in points; of others in their unit, on no axis of theirs."""
    if style in {"acc@1", "acc@last", "delta", "CL", "CS"}:
        return figure(estimate, "delta")
    return replace(figure(estimate, style), bar=None, zero=None)
