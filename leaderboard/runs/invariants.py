"""What must hold of the tables at any moment, each as one query that finds what breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from django.db.models import Count, F, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce

from leaderboard.runs.models import Attempt, Event, Run, RunControl, SampleResult, Shard, State
from leaderboard.runs.models.work import OWNED, TERMINAL
from leaderboard.runs.services.clock import ClockTimestamp
from leaderboard.runs.services.making import BADLY
from leaderboard.runs.services.reading import read_results
from leaderboard.runs.services.rows import row_hash
from leaderboard.runs.services.scoring import seal, tally
from leaderboard.runs.services.transitions import MOVES
from leaderboard.runs.tuning import tuning

_INFRA_ERROR = SampleResult.Status.INFRA_ERROR


def one_row_per_sample() -> Iterator[str]:
    """1. There is at most one row per run, task, sample and replicate."""
    keys = SampleResult.objects.order_by().values("run", "task", "sample_id", "replicate")
    for key in keys.annotate(n=Count("id")).filter(n__gt=1):
        yield f"{key} has {key['n']} rows"


def fences_are_attempts() -> Iterator[str]:
    """2. A row was written under an attempt of its shard, or copied (fence 0) by a retry."""
    attempts = Attempt.objects.filter(shard=OuterRef("shard"), fence=OuterRef("fence"))
    rows = SampleResult.objects.annotate(attempt=Subquery(attempts.values("pk")[:1]))
    copied = Q(fence=0, run__retry_of__isnull=False)
    for row in rows.filter(attempt=None).exclude(copied):
        yield f"{row} has fence {row.fence}, which no attempt had"


def states_follow_moves() -> Iterator[str]:
    """3. A shard changes only as states change, and its events lead to where it stands.

    4. What has ended never changes.
    """
    at = dict[int, str]()
    shards = Event.objects.filter(shard__isnull=False).order_by("run", "seq")
    for event in shards.values_list("shard", "from_state", "to_state"):
        shard, before, after = event
        if at.get(shard, State.QUEUED) != before:
            yield f"shard {shard} left {before} without being there"
        if after not in MOVES.get(before, frozenset()):
            yield f"shard {shard} went from {before} to {after}"
        at[shard] = after
    for shard, state in Shard.objects.values_list("pk", "state"):
        if at.get(shard, State.QUEUED) != state:
            yield f"shard {shard} is {state}, its events say {at.get(shard)}"


def runs_follow_events() -> Iterator[str]:
    """3. and 4. for runs; events are numbered without a gap."""
    at = dict[int, str]()
    seen = dict[int, int]()
    events = Event.objects.order_by("run", "seq")
    for event in events:
        run, seq, before, after = event.run_id, event.seq, event.from_state, event.to_state
        if seq != seen.get(run, 0) + 1:
            yield f"run {run} has event {seq} after {seen.get(run, 0)}"
        seen[run] = seq
        if event.shard_id is not None:
            continue
        if at.get(run, "") != before or before in TERMINAL:
            yield f"run {run} went from {before} to {after}, but was {at.get(run)}"
        at[run] = after
    for run, state in Run.objects.values_list("pk", "state"):
        if at.get(run) != state:
            yield f"run {run} is {state}, its events say {at.get(run)}"


def completed_runs_are_whole() -> Iterator[str]:
    """5. Complete: nothing missing, no infrastructure error, sealed results equal to the rows."""
    for run in Run.objects.filter(state=State.COMPLETED):
        planned = (run.shards.aggregate(n=Sum("size"))["n"] or 0) * run.replicates
        present = run.results.exclude(status=_INFRA_ERROR).count()
        if not planned == present == run.results.count():
            yield f"{run}: {planned} planned, {present} present"
        if seal(run.manifest) != run.manifest_sha256:
            yield f"{run}: the manifest is not what was sealed"
        tallies = {task: found.to_json() for task, found in sorted(tally(run).items())}
        if (run.manifest or {}).get("results", {}).get("tasks") != tallies:
            yield f"{run}: the sealed counts are not those of the rows"


def rows_are_what_was_hashed() -> Iterator[str]:
    """5. A row's hash is that of what is stored."""
    for run in Run.objects.filter(results__isnull=False).distinct():
        hashes = run.results.order_by("task", "position", "replicate").values_list(
            "task", "sample_id", "row_hash"
        )
        for result, (task, sample, kept) in zip(read_results(run), hashes, strict=True):
            if row_hash(result) != kept:
                yield f"{run}/{task}/{sample} is not what was hashed"


def owned_means_leased() -> Iterator[str]:
    """6. Owned means leased, and no lease is long past."""
    past = ClockTimestamp() - timedelta(seconds=1.5 * tuning().lease_seconds)
    unequal = Q(owner=None) ^ Q(lease_until=None) | Q(state__in=OWNED) ^ Q(owner__isnull=False)
    for shard in Shard.objects.filter(unequal | Q(lease_until__lt=past)):
        yield f"{shard} is {shard.state}, owned by {shard.owner} until {shard.lease_until}"


def cancelled_runs_rest() -> Iterator[str]:
    """7. After a cancel the run ends within one and a half leases, and nothing is stored later."""
    past = ClockTimestamp() - timedelta(seconds=1.5 * tuning().lease_seconds)
    for run in Run.objects.filter(cancel_requested_at__lt=past).exclude(state__in=TERMINAL):
        yield f"{run} was cancelled and is still {run.state}"
    late = SampleResult.objects.filter(
        run__state=State.CANCELLED, committed_at__gt=F("run__finished_at")
    )
    for row in late:
        yield f"{row} was stored after its run was cancelled"


def counters_agree() -> Iterator[str]:
    """9. Attempts and progress are counted as they are."""
    attempts = Attempt.objects.filter(shard=OuterRef("pk")).order_by().values("shard")
    rows = SampleResult.objects.filter(shard=OuterRef("pk")).exclude(status=_INFRA_ERROR)
    counted = Shard.objects.annotate(
        attempts_found=Coalesce(Subquery(attempts.annotate(n=Count("pk")).values("n")), 0),
        rows_found=Coalesce(
            Subquery(rows.order_by().values("shard").annotate(n=Count("pk")).values("n")), 0
        ),
    )
    wrong = ~Q(attempts_total=F("attempts_found")) | ~Q(progress_done=F("rows_found"))
    for shard in counted.filter(wrong):
        yield (
            f"{shard}: {shard.attempts_total} attempts counted, {shard.attempts_found} there; "
            f"{shard.progress_done} samples counted, {shard.rows_found} there"
        )


def controls_are_of_the_same_samples() -> Iterator[str]:
    """10. A control is a run of its method's model on the very samples, made once and not before.

    11. Nobody's run is left over: what nobody asked for is held against something.
    """
    held = RunControl.objects.filter(control__isnull=False).select_related("run", "control")
    same = ("model_id", "suite_id", "limit", "seed", "replicates")
    for row in held:
        if differing := [f for f in same if getattr(row.run, f) != getattr(row.control, f)]:
            yield f"{row} is {row.control}, of another {', '.join(differing)}"
    early = RunControl.objects.exclude(
        run__state=State.COMPLETED, run__controls_made_at__gt=F("run__finished_at")
    )
    for row in early:
        yield f"{row} was made before the run had completed"
    unused = Run.objects.filter(control_only=True, controlled=None).exclude(state__in=BADLY)
    for run in unused:
        yield f"{run} was made as a control of nothing"


ALL: tuple[Callable[[], Iterator[str]], ...] = (
    one_row_per_sample,
    fences_are_attempts,
    states_follow_moves,
    runs_follow_events,
    completed_runs_are_whole,
    rows_are_what_was_hashed,
    owned_means_leased,
    cancelled_runs_rest,
    counters_agree,
    controls_are_of_the_same_samples,
)
"""Every invariant that can be read from the tables of runs."""


def broken() -> list[str]:
    """Return everything that does not hold, in words."""
    return [f"{check.__name__}: {found}" for check in ALL for found in check()]
