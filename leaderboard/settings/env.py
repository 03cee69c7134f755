"""The environment variables Redraft reads, each with its type, default and meaning."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from django.core.exceptions import ImproperlyConfigured
from pydantic import BeforeValidator, ConfigDict, Field, ValidationError

from leaderboard.settings.work import Numbers

REPOSITORY = Path(__file__).resolve().parents[2]


def _split(value: object) -> object:
    """Read a comma-separated list."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


Words = Annotated[list[str], BeforeValidator(_split)]
Hosts = Annotated[
    list[Annotated[str, Field(pattern=r"^(?:\[[0-9a-fA-F:.]+\]|[^\s:/@]+):[0-9]{1,5}$")]],
    BeforeValidator(_split),
]
Ports = Annotated[list[Annotated[int, Field(ge=1, le=65535)]], BeforeValidator(_split)]


class Environment(Numbers):
    """Everything that may be set from outside; the field's alias is the variable's name."""

    model_config = ConfigDict(validate_by_name=False, validate_by_alias=True)

    secret_key: str = Field(
        "",
        alias="REDRAFT_SECRET_KEY",
        description="Signs sessions and links. Required in production (50 characters or more); "
        "elsewhere a random one is kept under REDRAFT_VAR.",
    )
    allowed_hosts: Words = Field(
        ["localhost", "127.0.0.1", "[::1]"],
        alias="REDRAFT_ALLOWED_HOSTS",
        description="Host names the site answers to, separated by commas. Required in production.",
    )
    trusted_origins: Words = Field(
        [],
        alias="REDRAFT_TRUSTED_ORIGINS",
        description="Origins that may post forms beside the site's own, such as https://board.example.org.",
    )
    behind_proxy: bool = Field(
        False,
        alias="REDRAFT_BEHIND_PROXY",
        description="1 when a proxy in front sets X-Forwarded-Proto and drops it from clients.",
    )
    database_url: str = Field(
        "",
        alias="DATABASE_URL",
        description="postgresql://user:password@host:5432/name of your own PostgreSQL. "
        "Unset: the embedded one, which `up` and `demo` start.",
    )
    broker_url: str = Field(
        "",
        alias="CELERY_BROKER_URL",
        description="redis://… or amqp://… for hints between web and workers. "
        "Unset: files under REDRAFT_VAR, enough for a single machine.",
    )
    var: Path = Field(
        REPOSITORY / "var",
        alias="REDRAFT_VAR",
        description="Folder of all that Redraft writes: embedded database, broker, static files.",
    )
    postgres_user: str = Field(
        "redraft-postgres",
        alias="REDRAFT_POSTGRES_USER",
        description="System user that runs the embedded PostgreSQL when Redraft is started as root "
        "(PostgreSQL refuses root); created when missing.",
    )
    worker_hardware: str = Field(
        "auto",
        alias="REDRAFT_WORKER_HARDWARE",
        description="Hardware classes that `worker` serves: cpu, endpoint, gpu, gpu-KIND. "
        "auto: the first two, and gpu where there are GPUs.",
    )
    worker_gpus: str = Field(
        "all",
        alias="REDRAFT_WORKER_GPUS",
        description="GPUs that `worker` shares out between its slots, by number or UUID.",
    )
    worker_slots: int = Field(
        0,
        ge=0,
        alias="REDRAFT_WORKER_SLOTS",
        description="Slots that share the GPUs; 0 gives every GPU a slot of its own.",
    )
    require_sandbox: bool = Field(
        False,
        alias="REDRAFT_REQUIRE_SANDBOX",
        description="1 refuses to run a model without bubblewrap around it; production sets it.",
    )
    field_keys: Words = Field(
        [],
        alias="REDRAFT_FIELD_KEYS",
        description="Keys that encrypt what users entrust to the database, separated by commas: "
        "the first encrypts, all decrypt. `manage.py rotate_keys --new` prints one. The same on "
        "web and workers. Unset: one is kept under REDRAFT_VAR.",
    )
    endpoint_allow: Hosts = Field(
        [],
        alias="REDRAFT_ENDPOINT_ALLOW",
        description="Hosts that endpoints may be on though their addresses are private, each as "
        "host:port and separated by commas; they may be plain http.",
    )
    endpoint_ports: Ports = Field(
        [443],
        alias="REDRAFT_ENDPOINT_PORTS",
        description="Ports that endpoints on public addresses may be on, separated by commas.",
    )
    prompt_packs: Path | None = Field(
        None,
        alias="REDRAFT_PROMPT_PACKS",
        description="Folder of prompt packs, a folder each, that submissions may choose from. The "
        "same packs on web and workers; others must not be able to write to it. Unset: none.",
    )
    submissions_per_day: int = Field(
        0,
        ge=0,
        alias="REDRAFT_SUBMISSIONS_PER_DAY",
        description="Submissions a user may make in 24 hours; 0 is no limit.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", alias="REDRAFT_LOG_LEVEL", description="Least severe log line that is written."
    )


def read_environment(variables: Mapping[str, str] | None = None) -> Environment:
    """Return the typed environment, or say in one line which variable is wrong and why."""
    source = os.environ if variables is None else variables
    given = {name: value for name, value in source.items() if value != ""}
    try:
        return Environment.model_validate(given)
    except ValidationError as error:
        problems = "; ".join(f"{e['loc'][0]}={e['input']!r}: {e['msg']}" for e in error.errors())
        raise ImproperlyConfigured(f"Bad environment: {problems}") from None
