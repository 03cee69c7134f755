"""Boards: one stored row per completed run, refreshed from run events."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from leaderboard.catalog.models import EvaluatorVersion, LanguageModel, Suite
from leaderboard.runs.models import Run


class Entry(models.Model):
    """A board row: model x evaluator on a suite, with the macro mean over its tasks."""

    run = models.OneToOneField(Run, models.CASCADE, related_name="entry")
    model = models.ForeignKey(LanguageModel, models.PROTECT, related_name="entries")
    evaluator = models.ForeignKey(EvaluatorVersion, models.PROTECT, related_name="entries")
    suite = models.ForeignKey(Suite, models.PROTECT, related_name="entries")
    oracle = models.BooleanField(default=False)
    """Stands on the oracle board, never beside intrinsic rows."""
    estimates = models.JSONField(default=dict)
    """Macro estimates by metric name, as `evaluators.metrics.Estimate.to_json` gives them."""
    acc_first = models.FloatField(null=True)
    acc_last = models.FloatField(null=True)
    delta = models.FloatField(null=True)
    cl = models.FloatField(null=True)
    cs = models.FloatField(null=True)
    rss = models.FloatField(null=True)
    net_flips = models.IntegerField(null=True)
    calls = models.FloatField(null=True)
    """Model calls per sample."""
    tokens_out = models.FloatField(null=True)
    """Generated tokens per sample."""
    n = models.PositiveIntegerField(default=0)
    n_total = models.PositiveIntegerField(default=0)
    refreshed_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar = ["-acc_last", "id"]
        indexes: ClassVar = [
            models.Index(fields=["suite", "oracle", "-acc_last", "id"], name="board_default_order")
        ]

    def __str__(self) -> str:
        return f"{self.model} / {self.evaluator}"


class TaskEntry(models.Model):
    """The decomposition of a board row on one task."""

    entry = models.ForeignKey(Entry, models.CASCADE, related_name="tasks")
    task = models.CharField(max_length=200)
    decomposition = models.JSONField()
    """As `evaluators.metrics.Decomposition.to_json` gives it."""
    n = models.PositiveIntegerField(default=0)
    n_total = models.PositiveIntegerField(default=0)

    class Meta:
        ordering: ClassVar = ["task"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["entry", "task"], name="task_entry_once")
        ]

    def __str__(self) -> str:
        return f"{self.entry_id}/{self.task}"


class Against(models.Model):
    """A board row held against one of its controls: paired differences on the same samples."""

    entry = models.ForeignKey(Entry, models.CASCADE, related_name="against")
    kind = models.CharField(max_length=24)
    """As `leaderboard.runs.models.RunControl` names it."""
    control = models.ForeignKey(Entry, models.CASCADE, related_name="controlled")
    estimates = models.JSONField(default=dict)
    """The row less its control: the macro mean of the paired differences by task, with its test;
    and the means of either side."""
    tasks = models.JSONField(default=dict)
    """By task: samples in both and on one side only, differences, the test of the last answers."""
    gain = models.FloatField(null=True)
    """Difference of the last accuracies; null where no task could be compared."""
    n = models.PositiveIntegerField(default=0)
    """Samples scored on both sides."""

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["entry", "kind"], name="against_once")
        ]

    def __str__(self) -> str:
        return f"{self.entry_id} against {self.kind}"


class EventCursor(models.Model):
    """How far the boards have read the run events."""

    name = models.CharField(max_length=64, primary_key=True)
    last_event = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name}@{self.last_event}"
