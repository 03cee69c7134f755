"""Claims: which shard a worker may take next, and everything it needs to work on it.

`SKIP LOCKED` gives claims their speed, the fence gives them their safety.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import F

from evaluators.model import ModelRole
from leaderboard.catalog.models import LanguageModel
from leaderboard.runs.hardware import count_of, hardware_of
from leaderboard.runs.models import Attempt, Run, Shard, State
from leaderboard.runs.services.clock import ClockTimestamp
from leaderboard.runs.services.recovery import recover_lost
from leaderboard.runs.services.transitions import move
from leaderboard.runs.tuning import Tuning, tuning

_PICK = """
WITH pick AS (
  SELECT s.id
    FROM runs_shard s JOIN runs_run r ON r.id = s.run_id
   WHERE s.hardware = ANY(%(hardware)s) AND r.evaluator_id = ANY(%(evaluators)s)
     AND (r.pack_id IS NULL OR r.pack_id = ANY(%(packs)s))
     AND r.cancel_requested_at IS NULL AND r.failure_id = ''
     AND s.attempts_charged < %(most)s
     AND s.state NOT IN ('COMPLETED', 'FAILED', 'QUARANTINED', 'CANCELLED')
     AND (s.state = 'QUEUED'
          OR (s.state = 'RETRY_WAIT' AND s.not_before <= clock_timestamp()))
     AND NOT (%(suspects)s AND s.alone)
   ORDER BY s.priority DESC,
            (NOT %(turn)s AND s.queued_at < clock_timestamp() - %(aged)s) DESC,
            (s.engine_key = %(warm)s) DESC, s.queued_at, s.id
   LIMIT 1 FOR NO KEY UPDATE OF s SKIP LOCKED)
SELECT pick.id FROM pick JOIN runs_shard s ON s.id = pick.id
 WHERE NOT %(company)s OR (s.engine_key = %(warm)s AND NOT s.alone)
"""
"""The states that have ended are named so that PostgreSQL takes the partial index of the others."""


@dataclass(frozen=True, slots=True)
class Player:
    """A model that plays a role in a run."""

    model: int
    """Key of its row."""
    label: str
    engine_key: str
    """Equal keys can be served by one runtime."""
    spec: Mapping[str, Any]
    """Fields of `evaluators.runtimes.ModelSpec`."""
    hardware: str
    keyed: bool = False
    """An endpoint that is called with its owner's key."""
    key: str = ""
    """Which key that is: another one has another name."""

    @property
    def runtime_key(self) -> tuple[str, str]:
        """Equal for what one open runtime can serve: an endpoint is opened with a key."""
        return self.engine_key, self.key


@dataclass(frozen=True, slots=True)
class Claim:
    """A shard in a worker's hands, with everything it needs to work on it."""

    shard: int
    run: int
    submission: int
    fence: int
    worker: str
    run_id: str
    """The run's public id, for log lines."""
    engine_key: str
    hardware: str
    task: str
    offset: int
    size: int | None
    """Planned questions; None until the task was loaded once."""
    replicates: int
    """Trajectories of each question."""
    limit: int | None
    """Samples of the whole task that belong to the run; None means all."""
    seed: int
    evaluator: str
    evaluator_digest: str
    params: Mapping[str, Any]
    prompt_pack: Mapping[str, Any]
    """What stands in for which of its prompts, as `Run.prompt_pack` gives it; empty for nothing."""
    actor: Player
    others: Mapping[ModelRole, Player]
    """Further roles that another model plays; the actor plays all that are not named."""
    has_chat_template: bool
    suite: int
    tasks: Sequence[Mapping[str, Any]]
    """Fields of `evaluators.tasks.TaskSpec` of every task of the suite."""
    alone: bool
    """May have no company: it was aboard when a worker or runtime died."""

    @property
    def actor_gpus(self) -> int:
        """GPUs of the slot that are the actor's: what the shard needs, less the others'."""
        others = {player.engine_key: player for player in self.others.values()}
        taken = sum(count_of(player.hardware) for player in others.values())
        return max(count_of(self.hardware) - taken, count_of(self.actor.hardware))


def claim(
    worker: str,
    *,
    hardware: Collection[str],
    evaluators: Collection[int],
    packs: Collection[int] = (),
    warm: str = "",
    turn: bool = False,
    company: bool = False,
    suspects: bool = False,
    isolation: str = "",
) -> Claim | None:
    """Take the shard that is next, or nothing; what dead workers held is taken from them first.

    Args:
        worker: Who claims; new at every start of a process.
        hardware: Every hardware that a shard may need.
        evaluators: Evaluator versions that it has installed.
        packs: Prompt packs that it has, to the letter.
        warm: Engine key of the runtime it keeps; equal shards go first, but for those of others
            that have waited for ten minutes.
        turn: The warm runtime has only just begun: its shards go before all others for now, or
            two models with long queues would be loaded in turn for every single shard.
        company: The slot is busy: only a shard of the same engine will do, and only if that is
            next and needs not be alone.
        suspects: Somebody else in the process needs to be alone: if the process dies, there must
            be one to blame.
        isolation: How the worker confines its runtimes.
    """
    recover_lost()
    numbers = tuning()
    with transaction.atomic():
        with connection.cursor() as cursor:
            wanted: dict[str, Any] = {
                "hardware": list(hardware),
                "evaluators": list(evaluators),
                "packs": list(packs),
                "most": numbers.max_charged,
                "aged": timedelta(seconds=numbers.aged_seconds),
                "warm": warm,
                "turn": turn,
                "company": company,
                "suspects": suspects,
            }
            cursor.execute(_PICK, wanted)
            picked = cursor.fetchone()
        if picked is None:
            return None
        shard = Shard.objects.select_related("run").get(pk=picked[0])
        return hold(shard, worker, isolation=isolation)


def hold(shard: Shard, worker: str, *, isolation: str = "") -> Claim:
    """Put a locked shard that nobody holds into a worker's hands."""
    _take(shard, worker, numbers=tuning())
    Attempt.objects.create(shard=shard, fence=shard.fence + 1, worker=worker, isolation=isolation)
    return _claim_of(shard, worker)


def _take(shard: Shard, worker: str, *, numbers: Tuning) -> None:
    move(
        shard,
        State.PREPARING,
        actor=worker,
        owner=worker,
        fence=shard.fence + 1,
        lease_until=ClockTimestamp() + numbers.lease,
        not_before=None,
        attempts_total=F("attempts_total") + 1,
        attempts_charged=F("attempts_charged") + 1,
        attempts_no_progress=F("attempts_no_progress") + 1,
    )


def _claim_of(shard: Shard, worker: str) -> Claim:
    everything = ("model", "critic_model", "judge_model", "suite", "evaluator", "pack")
    run = Run.objects.select_related(*everything).get(pk=shard.run_id)
    plans = run.suite.planned
    limits = {plan.key: plan.limit for plan in plans}
    bounds = [bound for bound in (run.limit, limits.get(shard.task)) if bound is not None]
    return Claim(
        shard=shard.pk,
        run=run.pk,
        submission=run.submission_id,
        fence=shard.fence + 1,
        worker=worker,
        run_id=run.public_id,
        engine_key=shard.engine_key,
        hardware=shard.hardware,
        task=shard.task,
        offset=shard.offset,
        size=shard.size,
        replicates=run.replicates,
        limit=min(bounds, default=None),
        seed=run.seed,
        evaluator=run.evaluator.name,
        evaluator_digest=run.evaluator.digest,
        params=run.params,
        prompt_pack=run.prompt_pack,
        actor=player_of(run.model),
        others={
            role: player_of(model)
            for role, model in run.others.items()
            if model.engine_key != run.model.engine_key
        },
        has_chat_template=run.model.has_chat_template,
        suite=run.suite_id,
        tasks=[plan.settings for plan in plans],
        alone=shard.alone,
    )


def player_of(model: LanguageModel) -> Player:
    """Return a model as workers know it."""
    return Player(
        model=model.pk,
        label=model.label,
        engine_key=model.engine_key,
        spec={
            "runtime": model.runtime,
            "model": model.model_class,
            "args": model.args,
            "batch_size": model.batch_size,
        },
        hardware=hardware_of(model.runtime, model.args),
        keyed=model.keyed,
        key=str(model.key_id or ""),
    )
