"""What can be evaluated and with what: models, suites, installed evaluators."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from leaderboard.core.ids import public_id

TWO_WAYS = ("generative", "likelihood")
"""Modes of multiple-choice tasks, which results name beside the task."""


ARXIV = re.compile(r"\d{4}\.\d{4,5}(v\d+)?", re.ASCII)


def arxiv_url(name: str) -> str:
    """Return the address of a paper by its arXiv id; empty for anything else."""
    return f"https://arxiv.org/abs/{name}" if ARXIV.fullmatch(name) else ""


def _model_id() -> str:
    return public_id("model")


def _key_id() -> str:
    return public_id("key")


class EndpointKey(models.Model):
    """A key that somebody stored for one host: encrypted, never shown, sent nowhere else."""

    public_id = models.CharField(max_length=32, unique=True, default=_key_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="keys")
    origin = models.CharField(max_length=300)
    """Scheme, host and port that the key goes to, and no other."""
    token = models.TextField()
    """The key, encrypted by `leaderboard.accounts.vault`."""
    last_four = models.CharField(max_length=4, blank=True)
    """All that is ever shown of it; empty for a short key."""
    created_at = models.DateTimeField(db_default=Now())
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["origin", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "origin"], name="endpoint_key_once_per_host")
        ]

    def __str__(self) -> str:
        return f"{self.public_id} for {self.origin}"


class LanguageModel(models.Model):
    """A model that was submitted once or more, pinned to exact weights and runtime arguments."""

    class Source(models.TextChoices):
        """Where the weights come from."""

        BUNDLED = "bundled", "Bundled"
        LOCAL = "local", "Local path"
        HUB = "hub", "Hugging Face Hub"
        ENDPOINT = "endpoint", "Endpoint"

    public_id = models.CharField(max_length=32, unique=True, default=_model_id, editable=False)
    label = models.CharField(max_length=200)
    """What readers see; NFKC, without control or bidirectional characters."""
    source = models.CharField(max_length=16, choices=Source)
    location = models.CharField(max_length=500)
    """Repository id, absolute path, bundled name or URL."""
    revision = models.CharField(max_length=64, blank=True)
    """40-hex commit of a Hub model."""
    runtime = models.CharField(max_length=64)
    """Entry point in group `redraft.runtimes`."""
    model_class = models.CharField(max_length=64)
    """The runtime's own name for the kind of model, such as lm-eval's `hf`."""
    args = models.JSONField(default=dict)
    batch_size = models.PositiveSmallIntegerField(default=8)
    engine_key = models.CharField(max_length=64, unique=True)
    """sha256 of everything that decides which runtime process serves it."""
    has_chat_template = models.BooleanField(default=True)
    architecture = models.CharField(max_length=100, blank=True)
    parameters = models.BigIntegerField(null=True, blank=True)
    size_bytes = models.BigIntegerField(null=True, blank=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="models"
    )
    """Whose endpoint it is: nobody else may have it called. Other models belong to nobody."""
    key = models.ForeignKey(
        EndpointKey, models.SET_NULL, null=True, blank=True, related_name="models"
    )
    """What the endpoint is called with; null once it was deleted."""
    keyed = models.BooleanField(default=False, db_default=False)
    """The endpoint is called with a key; without one it is not called."""
    capabilities = models.JSONField(null=True, blank=True)
    """What its runtime was found to be able to do; null before it first ran."""
    context_window = models.PositiveIntegerField(null=True, blank=True)
    """Tokens that prompt and completion may have together, as found when it ran."""
    probed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar = ["label", "id"]
        constraints: ClassVar = [
            models.CheckConstraint(
                name="model_endpoint_has_owner",
                condition=~models.Q(source="endpoint") | models.Q(owner__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True, slots=True)
class PlannedTask:
    """A task of a suite, as far as is known without opening it."""

    key: str
    """Its name in every result: with the mode, where it can be put in two."""
    mode: str
    """How it is put: `generate_until`, `generative` or `likelihood`."""
    limit: int | None
    """How many of its samples belong to the suite; None means all."""
    size: int | None
    """How many it has; None until it was loaded once."""
    settings: Mapping[str, Any]
    """Fields of `evaluators.tasks.TaskSpec`."""


class Suite(models.Model):
    """A named set of tasks with shots and limits; a change is a new row beside the old results."""

    name = models.SlugField(max_length=64)
    version = models.CharField(max_length=32)
    digest = models.CharField(max_length=64)
    summary = models.CharField(max_length=300, blank=True)
    definition = models.JSONField()
    """The suite as data: a list of tasks as `evaluators.tasks.TaskSpec` takes them, with limits."""
    sizes = models.JSONField(default=dict)
    """Samples per task before the limit, where known."""
    current = models.BooleanField(default=True)
    """False once a newer definition of the same name was installed."""
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar = ["name", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["name", "digest"], name="suite_once_per_digest"),
            models.UniqueConstraint(
                fields=["name"], condition=models.Q(current=True), name="suite_one_current"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def planned(self) -> list[PlannedTask]:
        """The suite's tasks in order."""
        return [_planned(dict(entry), self.sizes) for entry in self.definition]


def _planned(entry: dict[str, Any], sizes: Mapping[str, int]) -> PlannedTask:
    limit, mode = entry.pop("limit", None), entry.get("mode")
    key = f"{entry['name']}:{mode}" if mode in TWO_WAYS else str(entry["name"])
    return PlannedTask(key, mode or "generate_until", limit, sizes.get(key), entry)


class EvaluatorVersion(models.Model):
    """An evaluator as it was installed at some time; results point here for ever."""

    name = models.CharField(max_length=100)
    distribution = models.CharField(max_length=200)
    version = models.CharField(max_length=64)
    target = models.CharField(max_length=300)
    digest = models.CharField(max_length=64)
    """sha256 of the plugin's source and prompts: code that changed without a new version shows."""
    summary = models.CharField(max_length=500, blank=True)
    description = models.TextField(blank=True)
    schema = models.JSONField(default=dict)
    """JSON schema of its parameters, from the signature."""
    information = models.CharField(max_length=24, default="intrinsic")
    requires = models.JSONField(default=list)
    """Capabilities that the runtime must have."""
    modes = models.JSONField(default=list, db_default=[])
    """Modes of tasks that it works on."""
    roles = models.JSONField(default=list, db_default=[])
    """Roles beside the actor's that another model may play."""
    metrics = models.JSONField(default=list)
    source = models.CharField(max_length=40, blank=True, default="", db_default="")
    """arXiv id of the paper that it follows."""
    controls = models.JSONField(default=list, db_default=[])
    """What its results are held against, by kind of control."""
    card = models.JSONField(default=dict, db_default={})
    """Its method card as data: prompts, turns, deviations, published figures."""
    installed = models.BooleanField(default=True)
    problem = models.TextField(blank=True)
    """Why an installed plugin cannot be used, in one line."""
    first_seen = models.DateTimeField(db_default=Now())
    last_seen = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar = ["name", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["name", "distribution", "version", "digest"], name="evaluator_version_once"
            ),
            models.UniqueConstraint(
                fields=["name"], condition=models.Q(installed=True), name="evaluator_one_installed"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def paper(self) -> str:
        """Address of the paper that it follows; empty for what has none."""
        return arxiv_url(self.source)


class PackVersion(models.Model):
    """A prompt pack as its folder held it at some time; results point here for ever."""

    name = models.CharField(max_length=80)
    """As the pack gives it to itself; its folder's where it cannot be read."""
    version = models.CharField(max_length=40, blank=True)
    digest = models.CharField(max_length=64, blank=True)
    """sha256 over names and texts of its prompts; empty where it cannot be read."""
    info_parity = models.BooleanField(default=True)
    """Its prompts may demand no form of the answer that the question does not ask for."""
    source = models.TextField(blank=True)
    """Where the wording is from."""
    description = models.TextField(blank=True)
    prompts = models.JSONField(default=dict)
    """First 12 hex digits of each text's sha256, by `<package>/<prompt>` that it stands in for."""
    folder = models.CharField(max_length=255, blank=True)
    """Where it lay among the packs; empty for one that came with imported results."""
    installed = models.BooleanField(default=True)
    problem = models.TextField(blank=True)
    """Why it is refused, in one line."""
    first_seen = models.DateTimeField(db_default=Now())
    last_seen = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar = ["name", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["name", "version", "digest", "info_parity"],
                condition=models.Q(problem=""),
                name="pack_version_once",
            ),
            models.UniqueConstraint(
                fields=["name"],
                condition=models.Q(installed=True, problem=""),
                name="pack_one_installed",
            ),
            models.UniqueConstraint(
                fields=["folder"],
                condition=models.Q(installed=True),
                name="pack_one_per_folder",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()

    @property
    def short(self) -> str:
        """The beginning of the digest, for people."""
        return self.digest[:8]
