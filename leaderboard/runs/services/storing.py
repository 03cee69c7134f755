"""Writes prepared results under the protection of a shard's lock."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboard.runs.models import AnswerState, Judgement, Node, SampleResult
from leaderboard.runs.services.clock import ClockTimestamp
from leaderboard.runs.services.rows import Prepared

_INFRA_ERROR = SampleResult.Status.INFRA_ERROR


def store(batch: Sequence[Prepared], *, run: int, shard: int, fence: int) -> int:
    """Insert results that are not there yet; only infrastructure errors are replaced.

    The caller holds the shard's lock, so nobody else writes these keys; the unique constraint
    stands behind that.

    Returns:
        How many results were written that need not be made again.
    """
    if not batch:
        return 0
    rows = SampleResult.objects.filter(
        shard_id=shard, sample_id__in=[entry.result.sample_id for entry in batch]
    )
    _remove(list(rows.filter(status=_INFRA_ERROR).values_list("pk", flat=True)))
    known = set(rows.values_list("sample_id", "replicate"))
    fresh = {entry.key: entry for entry in batch if entry.key not in known}
    _insert(list(fresh.values()), run=run, shard=shard, fence=fence)
    return sum(entry.result.status != _INFRA_ERROR for entry in fresh.values())


def _insert(fresh: Sequence[Prepared], *, run: int, shard: int, fence: int) -> None:
    for entry in fresh:
        row = entry.result
        # A repeated commit inserts the same objects: a key from a rolled-back one must not stay.
        row.pk = None
        row.run_id, row.shard_id, row.fence = run, shard, fence
        row.committed_at = ClockTimestamp()
    SampleResult.objects.bulk_create([entry.result for entry in fresh])
    for entry in fresh:
        for part in entry.parts:
            part.pk = None
            part.result = entry.result
    Node.objects.bulk_create([node for entry in fresh for node in entry.nodes])
    AnswerState.objects.bulk_create([state for entry in fresh for state in entry.answers])
    Judgement.objects.bulk_create([found for entry in fresh for found in entry.judgements])


def _remove(keys: Sequence[int]) -> None:
    """Delete results with all that hangs on them."""
    if not keys:
        return
    for part in (Judgement, AnswerState, Node):
        part.objects.filter(result_id__in=keys).delete()
    SampleResult.objects.filter(pk__in=keys).delete()
