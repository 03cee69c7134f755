"""Turns the environment into Django's database and secret-key settings."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

SCHEMES = ("postgresql://", "postgres://")


def database(url: str, *, var: Path) -> dict[str, Any]:
    """Return the settings of the one database.

    Without a URL this is the embedded server's, if one was ever started under `var`; else an entry
    that cannot connect, so that commands which need no database work.
    """
    url = url or embedded_url(var)
    common: dict[str, Any] = {
        "ENGINE": "django.db.backends.postgresql",
        "CONN_HEALTH_CHECKS": True,
        "CONN_MAX_AGE": 60,
        "ATOMIC_REQUESTS": False,
    }
    if not url:
        return {**common, "NAME": "redraft", "HOST": str(var / "postgres" / "not-started")}
    return {**common, **_parts(url)}


def _parts(url: str) -> dict[str, Any]:
    """Split a PostgreSQL URL as libpq itself does."""
    if not url.startswith(SCHEMES):
        scheme = url.split(":", 1)[0][:20]
        raise ImproperlyConfigured(
            f"DATABASE_URL must start with postgresql://, not {scheme}: "
            "PostgreSQL is the only database"
        )
    try:
        parts = {key: value for key, value in conninfo_to_dict(url).items() if value is not None}
    except ProgrammingError:
        # libpq quotes the URL, and with it the password
        raise ImproperlyConfigured("DATABASE_URL is not a valid PostgreSQL URL") from None
    named = {
        setting: str(parts.pop(key, default))
        for setting, key, default in (
            ("NAME", "dbname", "redraft"),
            ("USER", "user", ""),
            ("PASSWORD", "password", ""),
            ("HOST", "host", ""),
            ("PORT", "port", ""),
        )
    }
    return {**named, "OPTIONS": parts}


def embedded_url(var: Path) -> str:
    """Return the URL that the embedded server left for its own user, or nothing."""
    try:
        return (var / "postgres" / "url").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _random() -> str:
    return secrets.token_urlsafe(64)


def kept_secret(path: Path, *, make: Callable[[], str] = _random) -> str:
    """Return the random secret kept in a file that only its owner reads, made on first use."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(make())
    try:
        os.link(own, path)  # atomic, and never over the secret of a process that was faster
    except FileExistsError:
        pass
    finally:
        own.unlink()
    return path.read_text(encoding="utf-8").strip()
