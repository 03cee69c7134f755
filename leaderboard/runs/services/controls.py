"""Controls: the runs that a completed result is held against, made once its cost is known."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from django.db import transaction
from django.db.models import Avg, Exists, OuterRef, Q

from evaluators.controls import PlannedControl, first_temperatures, plan_controls
from evaluators.errors import InputError
from evaluators.metrics import Trajectory
from evaluators.model import CAPABILITIES
from evaluators.registry import load_evaluator
from leaderboard.runs.models import Run, RunControl, SampleResult, State, Submission
from leaderboard.runs.models.work import TERMINAL
from leaderboard.runs.services.checking import offered
from leaderboard.runs.services.clock import ClockTimestamp
from leaderboard.runs.services.making import (
    find_or_make,
    installed_version,
    one_at_a_time,
    wanted,
)
from leaderboard.runs.services.reading import read_results

log = logging.getLogger(__name__)

ACTOR = "controls"
"""Who makes them, in the history of a run."""

ITSELF = "it would be this very run"

FIRST_VOTE, SECOND_VOTE = "sc_calls", "sc_tokens"

WAITING_FOR: Mapping[str, str] = {
    FIRST_VOTE: "sized once the vote at the same calls is done",
    "greedy": "sized once the greedy answer is done",
}
"""Why there is no vote at the same tokens yet: what a sampled answer costs, another vote tells, or,
where the method makes one call, the greedy answer."""

NO_PLAN = "the method is held against no such vote any more"


def make_controls() -> int:
    """Make what completed runs are to be held against; return how often something was made.

    Whoever comes first does it, all of a run's controls in one transaction: a worker that dies on
    the way leaves nothing behind, and the next round of any sweeper does it again. The vote at the
    same tokens comes second, when the vote at the same calls has told what a sampled answer costs,
    or the greedy answer where there is no such vote.
    """
    waiting = Run.objects.filter(
        state=State.COMPLETED, with_controls=True, controls_made_at__isnull=True
    )
    made = sum(_contained(_make, pk) for pk in waiting.order_by("pk").values_list("pk", flat=True))
    return made + sum(_contained(_size, pk) for pk in _to_size())


def ask_for_controls(run: Run) -> None:
    """Have a run held against its controls from now on; those that there are stay."""
    Run.objects.filter(pk=run.pk, with_controls=False, imported="").update(with_controls=True)
    run.refresh_from_db()


def _contained(make: Callable[[int], bool], key: int) -> bool:
    try:
        return make(key)
    except Exception:
        log.exception("%s %s: no controls were made; it is tried again", make.__name__, key)
        return False


def _make(run_id: int) -> bool:
    run = Run.objects.select_related("model", "evaluator", "suite", "submission").get(pk=run_id)
    planned = _planned(run)  # reads all of its results, so under no lock
    with transaction.atomic():
        one_at_a_time(run.model)
        # Who waited here for another sweeper finds nothing left to do.
        unmade = Run.objects.filter(pk=run_id, controls_made_at__isnull=True)
        if unmade.select_for_update(no_key=True).first() is None:
            return False
        there = {each.kind for each in planned if not each.missing}
        waiting = next((WAITING_FOR[kind] for kind in WAITING_FOR if kind in there), "")
        for control in planned:
            later = waiting and control.kind == SECOND_VOTE
            held, reason, note = (None, waiting, "") if later else _found(run, control)
            RunControl.objects.create(
                run=run, kind=control.kind, control=held, reason=reason, note=note
            )
        unmade.update(controls_made_at=ClockTimestamp())
    log.info("%s is held against %d controls", run.public_id, len(planned))
    return True


def _to_size() -> Iterator[int]:
    """Yield the votes at the same tokens for which what they wait for has come to an end."""
    for kind, reason in WAITING_FOR.items():
        waiting = RunControl.objects.filter(kind=SECOND_VOTE, control=None, reason=reason)
        going = RunControl.objects.filter(run=OuterRef("run"), kind=kind).exclude(
            Q(control=None) | Q(control__state__in=TERMINAL)
        )
        yield from waiting.filter(~Exists(going)).order_by("pk").values_list("pk", flat=True)


def _size(key: int) -> bool:
    """Make the run of a vote at the same tokens."""
    related = Run.objects.select_related("model", "evaluator", "suite", "submission")
    run = related.get(controls=key)
    planned = [
        each
        for each in _planned(run, sampled_tokens=_sampled_tokens(run))
        if each.kind == SECOND_VOTE
    ]
    with transaction.atomic():
        one_at_a_time(run.model)
        unsized = RunControl.objects.filter(pk=key, reason__in=WAITING_FOR.values())
        if unsized.select_for_update(no_key=True).first() is None:
            return False
        control, reason, note = _found(run, planned[0]) if planned else (None, NO_PLAN, "")
        unsized.update(control=control, reason=reason, note=note)
    return True


def _sampled_tokens(run: Run) -> float | None:
    """Return what an answer cost in the vote at the same calls, or the greedy one without a vote.

    None where that run was not completed.
    """
    held = {row.kind: row.control for row in run.controls.all() if row.control is not None}
    told = next((held[kind] for kind in WAITING_FOR if kind in held), None)
    if told is None or told.state != State.COMPLETED:
        return None
    scored = SampleResult.objects.filter(run=told, status=SampleResult.Status.OK)
    tokens = scored.aggregate(mean=Avg("tokens_out"))["mean"]
    return tokens / told.params.get("samples", 1) if tokens else None


def _planned(run: Run, *, sampled_tokens: float | None = None) -> Sequence[PlannedControl]:
    """Plan the controls of a run from what it cost on average over all of its tasks.

    A run is of a whole suite, and so are its controls: one size for all tasks.
    """
    facts = [
        found["task"] for found in run.shards.values_list("facts", flat=True) if "task" in found
    ]
    written = [task for task in facts if task.get("mode") != "likelihood"]
    if not written:
        return ()
    own = {float((task.get("sampling") or {}).get("temperature") or 0) for task in written}
    trajectories, firsts = list[Trajectory](), set[float]()
    for result in read_results(run):  # one by one: whole transcripts are large
        trajectories.append(Trajectory.from_result(result))
        firsts |= first_temperatures([result])
    drawn_at = firsts or own
    able = offered(run.model)
    try:
        planned = plan_controls(
            load_evaluator(run.evaluator.name),
            trajectories,
            capabilities=frozenset(CAPABILITIES) if able is None else able,
            mode=written[0].get("mode") or "generate_until",
            temperature=max(own),
            drawn_at=max(drawn_at),
            sampled_tokens=sampled_tokens,
        )
    except InputError as error:
        kinds = run.evaluator.controls
        return [PlannedControl(kind, reason=str(error)) for kind in kinds]
    if len(drawn_at) < 2:
        return planned
    note = f"its tasks sample at several temperatures; controls at {max(drawn_at):g}"
    return [each if each.missing else replace(each, note=each.note or note) for each in planned]


def _found(run: Run, planned: PlannedControl) -> tuple[Run | None, str, str]:
    """Return a control's run, or why there is none, and how it was chosen."""
    if planned.missing:
        return None, planned.reason, ""
    try:
        control = _control(run, planned)
    except InputError as error:
        return None, str(error), ""
    return (None, ITSELF, "") if control == run else (control, "", planned.note)


def _control(run: Run, planned: PlannedControl) -> Run:
    """Find or make the run of a control: of the same model on the same samples, from its seed.

    Where it asks a critic, it asks the run's own.

    Raises:
        InputError: It cannot be run here.
    """
    given = run.submission
    asked = Submission(
        pk=given.pk,
        user_id=given.user_id,
        model=run.model,
        suite=run.suite,
        limit=run.limit,
        seed=run.seed,
        replicates=run.replicates,
    )
    version = installed_version(planned.evaluator)
    found, _ = find_or_make(
        asked,
        wanted(
            asked,
            version,
            planned.params,
            others={str(role): model for role, model in run.others.items()},
        ),
        actor=ACTOR,
        control_only=True,
        published=run.published,
    )
    return found
