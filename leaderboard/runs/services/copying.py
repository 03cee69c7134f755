"""Carries the scored samples of a run that ended badly over to the run that goes on from it."""

from __future__ import annotations

from leaderboard.runs.models import Run, SampleResult, Shard
from leaderboard.runs.services.making import priority_of
from leaderboard.runs.services.rows import Prepared
from leaderboard.runs.services.storing import store

_CHUNK = 200


def copy_results(old: Run, new: Run) -> int:
    """Copy every `ok` row with its transcript into the shard it now belongs to; return how many.

    Shards of the new run start where the old ones did, so that no sample is asked twice.
    """
    _copy_cuts(old, new)
    copied = 0
    shards = list(new.shards.order_by("task", "offset"))
    for shard in shards:
        copied += _copy_shard(old, shard)
    return copied


def _copy_cuts(old: Run, new: Run) -> None:
    """Cut the new run's tasks as the old run's were cut."""
    new.shards.all().delete()
    Shard.objects.bulk_create(
        Shard(
            run=new,
            task=shard.task,
            offset=shard.offset,
            size=shard.size,
            hardware=shard.hardware,
            engine_key=shard.engine_key,
            priority=priority_of(new),
        )
        for shard in old.shards.order_by("id")
    )


def _copy_shard(old: Run, shard: Shard) -> int:
    source = SampleResult.objects.filter(
        run=old,
        shard__task=shard.task,
        shard__offset=shard.offset,
        status=SampleResult.Status.OK,
    ).prefetch_related("nodes", "answers", "judgements")
    copied, chunk = 0, list[Prepared]()
    for row in source.iterator(chunk_size=_CHUNK):
        chunk.append(
            Prepared(
                row, tuple(row.nodes.all()), tuple(row.answers.all()), tuple(row.judgements.all())
            )
        )
        if len(chunk) == _CHUNK:
            copied += store(chunk, run=shard.run_id, shard=shard.pk, fence=0)
            chunk = []
    copied += store(chunk, run=shard.run_id, shard=shard.pk, fence=0)
    Shard.objects.filter(pk=shard.pk).update(progress_done=copied)
    return copied
