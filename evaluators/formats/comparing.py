"""Two runs on the same samples, task by task, with everything that makes a comparison unfair."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from evaluators.controls import (
    ControlComparison,
    HeldAgainst,
    PlannedControl,
    compare_control,
)
from evaluators.errors import BadTask
from evaluators.formats.folder import MANIFEST, read_folder
from evaluators.formats.stored import StoredRun
from evaluators.metrics import (
    Comparison,
    Decomposition,
    Estimate,
    Trajectory,
    compare,
    decompose,
    holm,
    null,
)
from evaluators.metrics.decompose import macro_of
from evaluators.metrics.estimators import difference
from evaluators.metrics.trajectory import Costs, Graded
from evaluators.model import Json, SampleResult

COSTS: tuple[Costs, ...] = ("calls", "tokens_in", "tokens_out", "tokens_computed")
"""What correction costs: logical, but for the tokens that were really generated."""

CONTROL_GONE = "its results are not where the manifest says"

Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Pairing:
    """One task of two runs, on the samples that were scored in both."""

    task: str
    left: StoredRun
    right: StoredRun
    comparison: Comparison
    left_alone: Decomposition
    """The left run's figures on the shared samples only."""
    right_alone: Decomposition
    costs: dict[str, Estimate]
    """Right minus left, per sample."""
    same_first: int | None
    """Shared samples with one and the same first answer; None where a side kept no text."""
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Json]:
        """Return plain JSON."""
        return {
            "task": self.task,
            "left": self.left.label,
            "right": self.right.label,
            **self.comparison.to_json(),
            "left_estimates": {n: e.to_json() for n, e in self.left_alone.estimates.items()},
            "right_estimates": {n: e.to_json() for n, e in self.right_alone.estimates.items()},
            "costs": {name: estimate.to_json() for name, estimate in self.costs.items()},
            "same_first_answers": self.same_first,
            "warnings": list(self.warnings),
        }


def pair_runs(left: StoredRun, right: StoredRun, *, force: bool = False) -> list[Pairing]:
    """Compare two runs on the tasks that both have.

    Args:
        force: Compare even tasks that differ; the pairing's warnings say so.

    Raises:
        BadTask: They share no task or no sample, or a task is not the same on both sides.
    """
    shared = [task for task in left.tasks if task in right.tasks]
    if not shared:
        names = f"{', '.join(left.tasks) or 'none'} against {', '.join(right.tasks) or 'none'}"
        raise BadTask(task=names, reason="the two runs share no task")
    return [_pair(task, left, right, force=force) for task in shared]


def corrected(pairings: Sequence[Pairing]) -> list[float | None]:
    """Return the p-values of the last answers, corrected by Holm for how many there are."""
    ps = [pairing.comparison.significance.p for pairing in pairings]
    known = iter(holm([p for p in ps if p is not None]))
    return [None if p is None else next(known) for p in ps]


def macro_mean(pairings: Sequence[Pairing]) -> dict[str, Estimate]:
    """Average the differences of two runs over their tasks, each with the same weight."""
    return macro_of({p.task: {**p.comparison.differences, **p.costs} for p in pairings})


def hold_against_controls(run: StoredRun) -> dict[str, tuple[ControlComparison, ...]]:
    """Hold a run's results against its controls, by task; empty where it has none.

    Raises:
        BadFile: A control's folder is damaged.
    """
    found: dict[str, StoredRun | None] = {}
    home = run.source.resolve().parent

    def read(folder: str) -> StoredRun | None:
        if folder not in found:
            place = (run.source / folder).resolve()  # a manifest may come from anybody
            there = place.is_relative_to(home) and (place / MANIFEST).exists()
            found[folder] = read_folder(place) if there else None
        return found[folder]

    def compared(task: str, held: HeldAgainst) -> ControlComparison:
        control = read(held.run) if held.run else None
        if control is None or task not in control.results:
            reason = held.planned.reason or CONTROL_GONE
            missing = PlannedControl(held.planned.kind, reason=reason)
            return compare_control(missing, run.trajectories(task), ())
        return compare_control(held.planned, run.trajectories(task), control.trajectories(task))

    return {
        task: tuple(compared(task, one) for one in held)
        for task, held in run.controls.items()
        if held and task in run.results
    }


def _pair(task: str, left: StoredRun, right: StoredRun, *, force: bool) -> Pairing:
    a, b = _by_key(left.results[task]), _by_key(right.results[task])
    keys = [key for key in a if key in b]
    differing = list(_differing(task, left, right, [(a[key], b[key]) for key in keys]))
    if differing and not force:
        raise BadTask(task=task, reason=f"{differing[0]}; --force compares them nevertheless")
    ours, theirs = (
        {(t.id, t.replicate): t for t in run.trajectories(task) if t.scored}
        for run in (left, right)
    )
    both = [key for key in ours if key in theirs]
    if not both:
        raise BadTask(task=task, reason="no sample was scored in both runs")
    pair = [ours[key] for key in both], [theirs[key] for key in both]
    return Pairing(
        task=task,
        left=left,
        right=right,
        comparison=compare(ours.values(), theirs.values()),
        left_alone=decompose(pair[0]),
        right_alone=decompose(pair[1]),
        costs=cost_differences(*pair),
        same_first=_same_first([(a[key], b[key]) for key in both]),
        warnings=(*differing, *_unfair([(a[key], b[key]) for key in both])),
    )


def _by_key(results: Iterable[SampleResult]) -> dict[Key, SampleResult]:
    return {(result.sample.id, result.replicate): result for result in results}


def _differing(
    task: str,
    left: StoredRun,
    right: StoredRun,
    pairs: Sequence[tuple[SampleResult, SampleResult]],
) -> Iterator[str]:
    """Say why the tasks of one name are not one task."""
    digests = [run.tasks[task].digest for run in (left, right)]
    if all(digests) and digests[0] != digests[1]:
        yield f"it is not the same task in both: digest {digests[0][:12]} against {digests[1][:12]}"
    metrics = [(run.tasks[task].metric, run.tasks[task].filter) for run in (left, right)]
    if metrics[0] != metrics[1]:
        told = " against ".join(",".join(pair) for pair in metrics)
        yield f"it is graded otherwise: by {told}"
    odd = [a.sample.id for a, b in pairs if _golds(a) and _golds(b) and _golds(a) != _golds(b)]
    if odd:
        yield (
            f"{len(odd)} of {len(pairs)} samples have another expected answer, "
            f"the first is {odd[0]!r}"
        )


def _golds(result: SampleResult) -> set[str]:
    return {answer.grade.gold.strip() for answer in result.answers}


def _unfair(pairs: Sequence[tuple[SampleResult, SampleResult]]) -> Iterator[str]:
    """Say what makes a fair reading harder without making it impossible."""
    prompts = sum(_prompt(a) != _prompt(b) for a, b in pairs)
    if prompts:
        yield f"{prompts} of {len(pairs)} samples were put with another prompt"
    for index, side in enumerate(("left", "right")):
        if any(pair[index].oracle for pair in pairs):
            yield f"the {side} run asked for the expected answers while it worked"


def _prompt(result: SampleResult) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in result.sample.messages]


def _same_first(pairs: Sequence[tuple[SampleResult, SampleResult]]) -> int | None:
    firsts = [(a.answers[0].text, b.answers[0].text) for a, b in pairs]
    return sum(a == b for a, b in firsts) if firsts else None


def cost_differences(
    left: Sequence[Trajectory], right: Sequence[Trajectory]
) -> dict[str, Estimate]:
    """Return right minus left per sample, for every cost; both sides hold the same samples."""
    a, b = Graded(left), Graded(right)
    found: dict[str, Estimate] = {}
    for name in COSTS:
        (ours, known), (theirs, also) = a.cost(name), b.cost(name)
        if not (known.all() and also.all()):
            found[name] = null("not recorded on both sides", n_total=a.n)
        else:
            found[name] = difference(ours, theirs, a.clusters, n_total=a.n)
    return found
