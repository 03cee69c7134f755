"""System checks: what must hold before the server may be trusted, each said in one line."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning

WEB_CONNECTIONS = 20
"""Web threads, a sweeper and a few for people at a terminal."""


@register(Tags.database)
def postgres_only(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Refuse any other database: claims and leases rest on PostgreSQL's locks."""
    engine = settings.DATABASES["default"]["ENGINE"]
    if engine == "django.db.backends.postgresql":
        return []
    return [Error(f"Redraft works on PostgreSQL only, not on {engine}.", id="redraft.E001")]


@register(Tags.security)
def private_socket(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Refuse an embedded database whose socket folder others may enter."""
    host = settings.DATABASES["default"].get("HOST", "")
    root = Path(settings.REDRAFT_VAR) / "postgres"
    if not host.startswith("/") or not _is_embedded(root):
        return []
    try:
        mode = Path(host).stat().st_mode
    except OSError:
        return []
    if stat.S_IMODE(mode) & 0o077:
        return [
            Error(
                f"Others may enter the database's socket folder {host}.",
                hint=f"chmod 700 {host}",
                id="redraft.E002",
            )
        ]
    return []


def _is_embedded(root: Path) -> bool:
    return (root / "url").exists()


@register(Tags.security)
def private_files(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Refuse secrets under REDRAFT_VAR that others may read."""
    var = Path(settings.REDRAFT_VAR)
    secrets = (
        "secret_key",
        "field_keys",
        "admin_password",
        "postgres/passwords.json",
        "postgres/url",
    )
    return [
        Error(f"Others may read {path}.", hint=f"chmod 600 {path}", id="redraft.E003")
        for path in (var / name for name in secrets)
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]


@register(Tags.security)
def prompt_packs(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Refuse a folder of prompt packs that is not the operator's alone; name packs with a fault."""
    folder = settings.REDRAFT_PROMPT_PACKS
    if folder is None:
        return []
    from evaluators.cards import find_packs, folder_problem

    if problem := folder_problem(folder):
        hint = "Make the folder, take away others' right to write, or unset the variable."
        return [Error(f"REDRAFT_PROMPT_PACKS={folder}: {problem}.", hint=hint, id="redraft.E007")]
    return [
        CheckWarning(
            f"The prompt pack {found.folder!r} is refused: {found.problem}",
            hint="Submissions cannot choose it. Mend it, then `python manage.py sync_plugins`.",
            id="redraft.W008",
        )
        for found in find_packs(folder)
        if found.problem
    ]


@register()
def sound_timings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Refuse timings under which a healthy worker loses its lease."""
    lease, beat = settings.REDRAFT_LEASE_SECONDS, settings.REDRAFT_HEARTBEAT_SECONDS
    if beat * 3 > lease:
        return [
            Error(
                f"REDRAFT_HEARTBEAT_SECONDS={beat:g} must be at most a third of "
                f"REDRAFT_LEASE_SECONDS={lease:g}: a single late beat would lose the work.",
                id="redraft.E004",
            )
        ]
    return []


@register(deploy=True)
def sandbox_required(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Warn when a server that others reach would run models without a sandbox."""
    if settings.REDRAFT_REQUIRE_SANDBOX:
        return []
    return [
        CheckWarning(
            "REDRAFT_REQUIRE_SANDBOX is off: where bubblewrap is missing, models run unconfined.",
            hint="Set REDRAFT_REQUIRE_SANDBOX=1 unless you trust every model that is submitted.",
            id="redraft.W005",
        )
    ]


@register(Tags.database)
def connection_budget(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Warn when web and workers may need more connections than PostgreSQL allows."""
    if not databases:
        return []
    from django.db import OperationalError, connection

    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW max_connections")
            (allowed,) = cursor.fetchone()
    except OperationalError:
        return []
    if int(allowed) >= WEB_CONNECTIONS + 10:
        return []
    return [
        CheckWarning(
            f"PostgreSQL allows {allowed} connections; web and sweeper take up to "
            f"{WEB_CONNECTIONS}, each worker two more.",
            hint="Raise max_connections, or run fewer web threads.",
            id="redraft.W006",
        )
    ]
