"""What was asked for and who works on it: submissions, runs, shards, attempts, events, workers."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from evaluators.model import ModelRole
from leaderboard.catalog.models import EvaluatorVersion, LanguageModel, PackVersion, Suite
from leaderboard.core.ids import public_id


class State(models.TextChoices):
    """States of a shard; a run is in the state that its shards add up to."""

    QUEUED = "QUEUED", "Queued"
    PREPARING = "PREPARING", "Preparing"
    RUNNING = "RUNNING", "Running"
    SCORING = "SCORING", "Scoring"
    RETRY_WAIT = "RETRY_WAIT", "Waiting to retry"
    COMPLETED = "COMPLETED", "Completed"
    FAILED = "FAILED", "Failed"
    QUARANTINED = "QUARANTINED", "Quarantined"
    CANCELLED = "CANCELLED", "Cancelled"


OWNED = (State.PREPARING, State.RUNNING, State.SCORING)
"""States in which exactly one worker holds the lease."""

EXTERNAL = "external_feedback"
"""Information class of methods that use a tool or another model."""

TERMINAL = (State.COMPLETED, State.FAILED, State.QUARANTINED, State.CANCELLED)
"""States that never change."""


def _submission_id() -> str:
    return public_id("sub")


def _run_id() -> str:
    return public_id("run")


class Submission(models.Model):
    """One act of submitting: a model, a suite and some evaluators."""

    public_id = models.CharField(max_length=32, unique=True, default=_submission_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="submissions")
    model = models.ForeignKey(LanguageModel, models.PROTECT, related_name="submissions")
    suite = models.ForeignKey(Suite, models.PROTECT, related_name="submissions")
    limit = models.PositiveIntegerField(null=True, blank=True)
    """Samples per task; None takes the suite's own limits."""
    seed = models.BigIntegerField(default=0)
    critic_model = models.ForeignKey(
        LanguageModel, models.PROTECT, null=True, blank=True, related_name="submissions_as_critic"
    )
    """Another model to play the critic, for evaluators that have one; None is the model itself."""
    judge_model = models.ForeignKey(
        LanguageModel, models.PROTECT, null=True, blank=True, related_name="submissions_as_judge"
    )
    """Another model to play the judge, likewise."""
    replicates = models.PositiveSmallIntegerField(default=1, db_default=1)
    """Trajectories per question."""
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        return self.public_id


class Run(models.Model):
    """One model under one evaluator on one suite: a row of the board in the making."""

    public_id = models.CharField(max_length=32, unique=True, default=_run_id, editable=False)
    submission = models.ForeignKey(Submission, models.PROTECT, related_name="runs")
    model = models.ForeignKey(LanguageModel, models.PROTECT, related_name="runs")
    suite = models.ForeignKey(Suite, models.PROTECT, related_name="runs")
    evaluator = models.ForeignKey(EvaluatorVersion, models.PROTECT, related_name="runs")
    params = models.JSONField(default=dict)
    """All parameters, defaults included."""
    limit = models.PositiveIntegerField(null=True, blank=True)
    seed = models.BigIntegerField(default=0)
    critic_model = models.ForeignKey(
        LanguageModel, models.PROTECT, null=True, blank=True, related_name="runs_as_critic"
    )
    """Who plays the critic; None is the model itself, or an evaluator without that role."""
    judge_model = models.ForeignKey(
        LanguageModel, models.PROTECT, null=True, blank=True, related_name="runs_as_judge"
    )
    """Who plays the judge, likewise."""
    pack = models.ForeignKey(
        PackVersion, models.PROTECT, null=True, blank=True, related_name="runs"
    )
    """The prompts that stand in for the method's own; None is its own."""
    prompts = models.JSONField(default=dict, db_default={})
    """What of the pack stands in for which of the method's prompts, with hashes."""
    replicates = models.PositiveSmallIntegerField(default=1, db_default=1)
    """Trajectories per question: a shard of size n plans n x replicates rows."""
    identity = models.CharField(max_length=64)
    """sha256 of all that makes two runs the same run."""
    retry_of = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="+")
    state = models.CharField(max_length=16, choices=State, default=State.QUEUED)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    queued_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    failure_id = models.CharField(max_length=80, blank=True)
    """Key into the message registry, such as `run:user:model-unusable`."""
    failure_detail = models.TextField(blank=True)
    oracle = models.BooleanField(default=False)
    """The evaluator read gold, by declaration or by deed."""
    imported = models.CharField(max_length=24, blank=True, default="", db_default="")
    """Whose files it was read from, such as `lm-eval`; empty for what this server evaluated."""
    manifest = models.JSONField(null=True, blank=True)
    manifest_sha256 = models.CharField(max_length=64, blank=True)
    published = models.BooleanField(default=True)
    with_controls = models.BooleanField(default=False, db_default=False)
    """Its result is to be held against controls, which are made once it has completed."""
    controls_made_at = models.DateTimeField(null=True, blank=True)
    """When that was done, controls that cannot be made included; null while it is to be done."""
    control_only = models.BooleanField(default=False, db_default=False)
    """Made to hold others against; nobody asked for it by itself."""

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            models.Index(
                fields=["id"],
                condition=Q(state="COMPLETED", with_controls=True, controls_made_at__isnull=True),
                name="run_without_its_controls",
            )
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["identity"],
                condition=~Q(state__in=["FAILED", "QUARANTINED", "CANCELLED"]),
                name="run_once_unless_it_ended_badly",
            ),
            models.CheckConstraint(
                name="run_completed_has_manifest",
                condition=~Q(state="COMPLETED") | ~Q(manifest_sha256=""),
            ),
            models.CheckConstraint(
                name="run_has_replicates", condition=Q(replicates__gte=1, replicates__lte=64)
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def information(self) -> str:
        """What the method learns beyond the model itself; another model's words are external."""
        declared = self.evaluator.information
        helped = self.critic_model_id is not None or self.judge_model_id is not None
        return EXTERNAL if declared == "intrinsic" and helped else declared

    @property
    def prompt_pack(self) -> dict[str, Any]:
        """What results keep of the pack, as the library's files have it; empty without one."""
        if self.pack is None:
            return {}
        return {
            "name": self.pack.name,
            "version": self.pack.version,
            "digest": self.pack.digest,
            "source": self.pack.source,
            "info_parity": self.pack.info_parity,
            "prompts": self.prompts,
        }

    @property
    def others(self) -> dict[ModelRole, LanguageModel]:
        """The roles that other models play, and who they are."""
        roles: dict[ModelRole, LanguageModel | None] = {
            "critic": self.critic_model,
            "judge": self.judge_model,
        }
        return {role: model for role, model in roles.items() if model is not None}


class Shard(models.Model):
    """A slice of one task of a run: what a worker claims."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="shards")
    task = models.CharField(max_length=200)
    offset = models.PositiveIntegerField(default=0)
    size = models.PositiveIntegerField(null=True, blank=True)
    """Planned questions; None until the task was loaded once."""
    state = models.CharField(max_length=16, choices=State, default=State.QUEUED)
    hardware = models.CharField(max_length=32, default="cpu")
    engine_key = models.CharField(max_length=64)
    priority = models.SmallIntegerField(default=0)
    alone = models.BooleanField(default=False)
    """Taken up again without company, after a death with several shards aboard."""
    queued_at = models.DateTimeField(db_default=Now())
    not_before = models.DateTimeField(null=True, blank=True)
    fence = models.PositiveIntegerField(default=0)
    owner = models.CharField(max_length=120, null=True, blank=True)  # noqa: DJ001 - null is "nobody"
    lease_until = models.DateTimeField(null=True, blank=True)
    attempts_total = models.PositiveIntegerField(default=0)
    attempts_charged = models.PositiveIntegerField(default=0)
    attempts_no_progress = models.PositiveIntegerField(default=0)
    deaths_no_progress = models.PositiveIntegerField(default=0)
    progress_done = models.PositiveIntegerField(default=0)
    progressed_at = models.DateTimeField(null=True, blank=True)
    failure_id = models.CharField(max_length=80, blank=True)
    failure_detail = models.TextField(blank=True)
    facts = models.JSONField(default=dict)
    """What its last attempt worked with: the model's fingerprint, versions, the task's digest."""

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "task", "offset"], name="shard_once"),
            models.CheckConstraint(
                name="shard_owned_iff_leased",
                condition=Q(owner__isnull=True, lease_until__isnull=True)
                | Q(owner__isnull=False, lease_until__isnull=False),
            ),
            models.CheckConstraint(
                name="shard_owned_iff_active",
                condition=Q(state__in=["PREPARING", "RUNNING", "SCORING"], owner__isnull=False)
                | (~Q(state__in=["PREPARING", "RUNNING", "SCORING"]) & Q(owner__isnull=True)),
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["owner"], condition=Q(owner__isnull=False), name="shard_of_owner"),
            models.Index(
                F("priority").desc(),
                F("queued_at"),
                F("id"),
                condition=~Q(state__in=["COMPLETED", "FAILED", "QUARANTINED", "CANCELLED"]),
                name="shard_claimable",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.run_id}/{self.task}+{self.offset}"


class Attempt(models.Model):
    """One worker's hold on a shard, from claim to end."""

    shard = models.ForeignKey(Shard, models.CASCADE, related_name="attempts")
    fence = models.PositiveIntegerField()
    worker = models.CharField(max_length=120)
    started_at = models.DateTimeField(db_default=Now())
    last_heartbeat_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=24, blank=True)
    """completed, failed, retry, drained, cancelled, lost."""
    detail = models.TextField(blank=True)
    isolation = models.CharField(max_length=24, blank=True)
    rungs = models.JSONField(default=list)
    """Steps down the memory ladder that it took, one line of numbers each."""

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["shard", "fence"], name="attempt_once_per_fence")
        ]
        indexes: ClassVar = [models.Index(fields=["worker"], name="attempt_of_worker")]

    def __str__(self) -> str:
        return f"{self.shard_id}#{self.fence}"


class Event(models.Model):
    """A change of state, append-only; boards read them with a cursor."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="events")
    seq = models.PositiveIntegerField()
    shard = models.ForeignKey(Shard, models.CASCADE, null=True, blank=True, related_name="events")
    from_state = models.CharField(max_length=16, blank=True)
    to_state = models.CharField(max_length=16)
    actor = models.CharField(max_length=120)
    reason = models.TextField(blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["run", "seq"], name="event_once")]

    def __str__(self) -> str:
        return f"{self.run_id}.{self.seq} {self.from_state}->{self.to_state}"


class Worker(models.Model):
    """A worker process; the id is new at every start, never a host name alone."""

    id = models.CharField(max_length=120, primary_key=True)
    host = models.CharField(max_length=200)
    pid = models.PositiveIntegerField()
    hardware = models.JSONField(default=list)
    """Hardware classes that it serves."""
    plugins = models.JSONField(default=dict)
    """Installed evaluators and their versions: it never claims a run whose plugins it lacks."""
    isolation = models.CharField(max_length=24, blank=True)
    devices = models.JSONField(default=list)
    """GPUs that it owns."""
    engine_key = models.CharField(max_length=64, blank=True)
    """The runtime it keeps warm."""
    holds = models.CharField(max_length=200, blank=True)
    """Name of the model that it holds."""
    shards = models.PositiveSmallIntegerField(default=0)
    """Shards that it works on."""
    state = models.CharField(max_length=16, default="idle")
    """idle, loading, running, draining, blocked, stopped."""
    problem = models.TextField(blank=True)
    """Why it takes no work, or leaves some: a GPU that is not free although nothing of ours runs on
    it, a prompt pack that is not here in the recorded words."""
    started_at = models.DateTimeField(db_default=Now())
    last_seen = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar = ["-last_seen"]

    def __str__(self) -> str:
        return self.id
