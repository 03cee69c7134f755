"""Runs in the admin site: to look at; cancelling and retrying are buttons of the run's own page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest

from leaderboard.core.admin_readonly import ReadOnlyAdmin
from leaderboard.runs.models import (
    AnswerState,
    Attempt,
    Event,
    Generation,
    Judgement,
    Node,
    Run,
    RunControl,
    SampleResult,
    Shard,
    Submission,
    Worker,
)

if TYPE_CHECKING:
    from django.db.models import Model


@admin.register(Submission)
class SubmissionAdmin(ReadOnlyAdmin):
    """Acts of submitting."""

    list_display = ("public_id", "user", "model", "suite", "limit", "created_at")
    list_select_related = ("user", "model", "suite")
    search_fields = ("public_id", "user__username", "model__label")


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    """Runs; only whether a run is published may be changed here."""

    list_display = (
        "public_id",
        "model",
        "evaluator",
        "pack",
        "suite",
        "state",
        "failure_id",
        "published",
        "queued_at",
    )
    list_filter = ("state", "suite", "published", "oracle")
    list_select_related = ("model", "evaluator", "pack", "suite")
    search_fields = ("public_id", "model__label", "evaluator__name", "failure_id")
    view_on_site = False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Allow publishing and withdrawing."""
        return request.user.has_perm("runs.change_run")

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        """Keep everything else as it happened."""
        return [field.name for field in self.opts.fields if field.name != "published"]


@admin.register(RunControl)
class RunControlAdmin(ReadOnlyAdmin):
    """What results are held against."""

    list_display = ("run", "kind", "control", "note", "reason")
    list_filter = ("kind",)
    list_select_related = ("run", "control")
    search_fields = ("run__public_id", "control__public_id")


@admin.register(Shard)
class ShardAdmin(ReadOnlyAdmin):
    """What workers claim."""

    list_display = (
        "run",
        "task",
        "offset",
        "state",
        "owner",
        "lease_until",
        "attempts_total",
        "progress_done",
        "size",
    )
    list_filter = ("state", "hardware")
    list_select_related = ("run",)
    search_fields = ("run__public_id", "task", "owner")


@admin.register(Attempt)
class AttemptAdmin(ReadOnlyAdmin):
    """Holds of workers on shards."""

    list_display = (
        "shard",
        "fence",
        "worker",
        "started_at",
        "last_heartbeat_at",
        "ended_at",
        "outcome",
        "isolation",
    )
    list_filter = ("outcome", "isolation")
    list_select_related = ("shard",)


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """The history of runs."""

    list_display = ("run", "seq", "from_state", "to_state", "actor", "at", "reason")
    list_filter = ("to_state",)
    list_select_related = ("run",)
    search_fields = ("run__public_id", "actor")


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    """Worker processes."""

    list_display = ("id", "host", "pid", "state", "isolation", "last_seen")
    list_filter = ("state", "isolation")


@admin.register(SampleResult)
class SampleResultAdmin(ReadOnlyAdmin):
    """Results of samples."""

    list_display = (
        "run",
        "task",
        "position",
        "status",
        "flip",
        "changed",
        "truncated",
        "parsed",
        "calls",
    )
    list_filter = ("status", "flip")
    list_select_related = ("run",)
    search_fields = ("run__public_id", "sample_id")


@admin.register(Node, AnswerState, Judgement)
class PartAdmin(ReadOnlyAdmin):
    """Parts of transcripts."""

    list_display = ("id", "result", "idx")
    raw_id_fields = ("result",)


@admin.register(Generation)
class GenerationAdmin(ReadOnlyAdmin):
    """Stored completions."""

    list_display = ("key", "fingerprint", "finish_reason", "tokens_in", "tokens_out", "created_at")
    list_filter = ("finish_reason",)
