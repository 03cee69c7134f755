"""Controls: the runs that a completed result is held against, made once its cost is known."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from django.db import transaction

from evaluators.controls import PlannedControl, plan_controls
from evaluators.errors import InputError
from evaluators.metrics import Trajectory
from evaluators.model import CAPABILITIES
from evaluators.registry import load_evaluator
from leaderboard.runs.models import Run, RunControl, State, Submission
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


def make_controls() -> int:
    """Make what completed runs are to be held against; return for how many runs that was done.

    Whoever comes first does it, all of a run's controls in one transaction: a worker that dies on
    the way leaves nothing behind, and the next round of any sweeper does it again.
    """
    waiting = Run.objects.filter(
        state=State.COMPLETED, with_controls=True, controls_made_at__isnull=True
    )
    return sum(_contained(pk) for pk in waiting.order_by("pk").values_list("pk", flat=True))


def ask_for_controls(run: Run) -> None:
    """Have a run held against its controls from now on; those that there are stay."""
    Run.objects.filter(pk=run.pk, with_controls=False, imported="").update(with_controls=True)
    run.refresh_from_db()


def _contained(run_id: int) -> bool:
    try:
        return _make(run_id)
    except Exception:
        log.exception("the controls of run %s could not be made; they are tried again", run_id)
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
        for control in planned:
            _hold_against(run, control)
        unmade.update(controls_made_at=ClockTimestamp())
    log.info("%s is held against %d controls", run.public_id, len(planned))
    return True


def _planned(run: Run) -> Sequence[PlannedControl]:
    """Plan the controls of a run from what it cost on average over all of its tasks.

    A run is of a whole suite, and so are its controls: one size for all tasks.
    """
    facts = [
        found["task"] for found in run.shards.values_list("facts", flat=True) if "task" in found
    ]
    written = [task for task in facts if task.get("mode") != "likelihood"]
    if not written:
        return ()
    temperatures = {float((task.get("sampling") or {}).get("temperature") or 0) for task in written}
    able = offered(run.model)
    try:
        planned = plan_controls(
            load_evaluator(run.evaluator.name),
            [Trajectory.from_result(result) for result in read_results(run)],
            capabilities=frozenset(CAPABILITIES) if able is None else able,
            mode=written[0].get("mode") or "generate_until",
            temperature=max(temperatures),
        )
    except InputError as error:
        kinds = run.evaluator.controls
        return [PlannedControl(kind, reason=str(error)) for kind in kinds]
    if len(temperatures) < 2:
        return planned
    note = f"its tasks sample at several temperatures; controls at {max(temperatures):g}"
    return [each if each.missing else replace(each, note=each.note or note) for each in planned]


def _hold_against(run: Run, planned: PlannedControl) -> None:
    control, reason = None, planned.reason
    if not planned.missing:
        try:
            control = _control(run, planned)
        except InputError as error:
            reason = str(error)
    if control == run:
        control, reason = None, ITSELF
    RunControl.objects.create(
        run=run,
        kind=planned.kind,
        control=control,
        reason=reason,
        note=planned.note if control else "",
    )


def _control(run: Run, planned: PlannedControl) -> Run:
    """Find or make the run of a control: of the same model on the same samples, from its seed.

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
        wanted(asked, version, planned.params, others={}),
        actor=ACTOR,
        control_only=True,
        published=run.published,
    )
    return found
