"""What came out of a run: a row per sample, its transcript, its answers, and shared generations."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from leaderboard.runs.models.work import Run, Shard


class SampleResult(models.Model):
    """One trajectory: exactly one row per run, task, sample and replicate."""

    class Status(models.TextChoices):
        """What became of the sample."""

        OK = "ok", "Scored"
        UNSCORED = "unscored", "Not scored"
        INFRA_ERROR = "infra_error", "To be made again"

    class Flip(models.TextChoices):
        """First answer against last answer."""

        CC = "cc", "right, stayed right"
        CI = "ci", "right, turned wrong"
        IC = "ic", "wrong, turned right"
        II = "ii", "wrong, stayed wrong"

    run = models.ForeignKey(Run, models.CASCADE, related_name="results")
    shard = models.ForeignKey(Shard, models.CASCADE, related_name="results")
    task = models.CharField(max_length=200)
    sample_id = models.CharField(max_length=200)
    position = models.PositiveIntegerField()
    """Place of the sample in its task: the same order for every model."""
    replicate = models.PositiveSmallIntegerField(default=0)
    cluster = models.CharField(max_length=200, blank=True)
    fence = models.PositiveIntegerField()
    status = models.CharField(max_length=16, choices=Status)
    flip = models.CharField(max_length=2, choices=Flip, blank=True)
    changed = models.BooleanField(default=False)
    """The last answer differs from the first."""
    truncated = models.BooleanField(default=False)
    parsed = models.BooleanField(default=True)
    """An answer could be extracted from the last text."""
    sample = models.JSONField(default=dict)
    """The sample as evaluators saw it: prompt, question, public facts."""
    question = models.TextField(blank=True)
    gold = models.TextField(blank=True)
    calls = models.PositiveIntegerField(default=0)
    tokens_in = models.PositiveIntegerField(default=0)
    tokens_out = models.PositiveIntegerField(default=0)
    tokens_computed = models.PositiveIntegerField(default=0)
    seconds = models.FloatField(default=0.0)
    oracle = models.BooleanField(default=False)
    stop_reason = models.CharField(max_length=100, blank=True)
    facts = models.JSONField(default=dict)
    failure_id = models.CharField(max_length=80, blank=True)
    failure_detail = models.TextField(blank=True)
    row_hash = models.CharField(max_length=64)
    """sha256 of the canonical result without times: equal for undisturbed and resumed runs."""
    committed_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar = ["task", "position", "replicate"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run", "task", "sample_id", "replicate"], name="sample_result_once"
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["run", "task", "position", "id"], name="sample_page"),
            models.Index(fields=["shard", "status"], name="sample_of_shard"),
            models.Index(fields=["run", "flip", "position", "id"], name="sample_flip_page"),
        ]

    def __str__(self) -> str:
        return f"{self.run_id}/{self.task}/{self.sample_id}"


class Node(models.Model):
    """One step of a transcript."""

    result = models.ForeignKey(SampleResult, models.CASCADE, related_name="nodes")
    idx = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=24)
    role = models.CharField(max_length=16)
    round = models.PositiveSmallIntegerField(default=0)
    agent = models.CharField(max_length=64, blank=True)
    parents = models.JSONField(default=list)
    messages = models.JSONField(default=list)
    """What the model was shown, as `[{"role": …, "content": …}]`."""
    text = models.TextField(blank=True)
    clipped = models.BooleanField(default=False)
    """The text was longer than what is stored."""
    finish_reason = models.CharField(max_length=24, blank=True)
    sampling = models.JSONField(null=True)
    tokens_in = models.PositiveIntegerField(null=True)
    tokens_out = models.PositiveIntegerField(null=True)
    cached = models.BooleanField(default=False)
    sees_gold = models.BooleanField(default=False)
    gated_by_gold = models.BooleanField(default=False)
    payload = models.JSONField(default=dict)

    class Meta:
        ordering: ClassVar = ["idx"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["result", "idx"], name="node_once")
        ]

    def __str__(self) -> str:
        return f"{self.result_id}.{self.idx} {self.kind}"


class AnswerState(models.Model):
    """One graded answer of a trajectory."""

    result = models.ForeignKey(SampleResult, models.CASCADE, related_name="answers")
    idx = models.PositiveSmallIntegerField()
    node_idx = models.PositiveSmallIntegerField()
    text = models.TextField(blank=True)
    clipped = models.BooleanField(default=False)
    extracted = models.TextField(null=True)  # noqa: DJ001 - null is "nothing could be extracted"
    correct = models.BooleanField()
    score = models.FloatField()
    truncated = models.BooleanField(default=False)
    changed = models.BooleanField(default=False)
    scores = models.JSONField(default=dict)
    extractions = models.JSONField(default=dict)
    likelihoods = models.JSONField(default=list, db_default=[])
    """Of every choice, in likelihood mode: `[{"text", "logprob", "tokens", "greedy"}, …]`."""
    first_error = models.IntegerField(null=True)
    """First wrong step of the text, from 0; -1: it has none; null where nobody knows."""

    class Meta:
        ordering: ClassVar = ["idx"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["result", "idx"], name="answer_once")
        ]

    def __str__(self) -> str:
        return f"{self.result_id}.{self.idx}"


class Judgement(models.Model):
    """What the model said about one of its answers."""

    result = models.ForeignKey(SampleResult, models.CASCADE, related_name="judgements")
    idx = models.PositiveSmallIntegerField()
    answer_idx = models.PositiveSmallIntegerField()
    node_idx = models.PositiveSmallIntegerField()
    value = models.CharField(max_length=16, blank=True)
    """correct, wrong, unsure; empty when the verdict could not be parsed."""
    score = models.FloatField(null=True)
    step = models.IntegerField(null=True)
    """The step called the first mistake, from 0; -1 says that there is none."""

    class Meta:
        ordering: ClassVar = ["idx"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["result", "idx"], name="judgement_once")
        ]

    def __str__(self) -> str:
        return f"{self.result_id}.{self.idx} {self.value}"


class Generation(models.Model):
    """A runtime's answer that every method may share; the key never holds evaluator or run."""

    key = models.CharField(max_length=64, primary_key=True)
    fingerprint = models.CharField(max_length=64, db_index=True)
    """Identity of the model that answered; its rows are served to no other."""
    text = models.TextField(blank=True)
    finish_reason = models.CharField(max_length=24, blank=True)
    """Empty for likelihoods."""
    tokens_in = models.PositiveIntegerField()
    tokens_out = models.PositiveIntegerField()
    logprobs = models.JSONField(default=list, db_default=[])
    """Of the generated tokens, `[[token, logprob, [[token, logprob], …]], …]`, where asked for."""
    choices = models.JSONField(null=True)
    """Likelihoods, `[[text, logprob, tokens, greedy], …]`; null for a completion."""
    digest = models.CharField(max_length=64, db_default="")
    """sha256 of the row: one that does not fit is not served but made anew."""
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.key
