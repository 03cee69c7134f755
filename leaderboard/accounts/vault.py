"""Encrypts small secrets at rest, with keys that the database does not hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from leaderboard.core.logs import conceal
from leaderboard.settings.services import kept_secret

KEY_FILE = "field_keys"
"""Under REDRAFT_VAR: one key a line, the first encrypts; made when nothing else is set."""


class Unreadable(Exception):
    """A secret cannot be opened: its key is gone, or it was not sealed for this purpose."""


def seal(secret: str, *, purpose: str) -> str:
    """Encrypt a secret for one purpose, such as the host that it may be sent to."""
    conceal(secret)
    text = json.dumps({"for": purpose, "secret": secret})
    return _locks(_keys()).encrypt(text.encode()).decode()


def unseal(token: str, *, purpose: str) -> str:
    """Decrypt a secret that was sealed for this very purpose.

    Raises:
        Unreadable: No key opens it, or it was sealed for something else.
    """
    try:
        found = json.loads(_locks(_keys()).decrypt(token.encode()))
    except InvalidToken:
        raise Unreadable("none of this machine's REDRAFT_FIELD_KEYS opens it") from None
    if found["for"] != purpose:
        raise Unreadable("it was stored for something else")
    secret = str(found["secret"])
    conceal(secret)
    return secret


def reseal(token: str) -> str:
    """Encrypt a sealed secret anew, with the first key.

    Raises:
        Unreadable: No key opens it.
    """
    try:
        return _locks(_keys()).rotate(token.encode()).decode()
    except InvalidToken:
        raise Unreadable("none of this machine's REDRAFT_FIELD_KEYS opens it") from None


def check_keys() -> None:
    """Look whether the keys can be used.

    Raises:
        ImproperlyConfigured: They cannot; the reason does not quote them.
    """
    _locks(_keys())


def _keys() -> tuple[str, ...]:
    given: Sequence[str] = getattr(settings, "REDRAFT_FIELD_KEYS", ())
    if given:
        return tuple(given)
    path = Path(settings.REDRAFT_VAR) / KEY_FILE
    return tuple(kept_secret(path, make=lambda: Fernet.generate_key().decode()).split())


@cache
def _locks(keys: tuple[str, ...]) -> MultiFernet:
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError:
        reason = "REDRAFT_FIELD_KEYS must hold keys as `manage.py rotate_keys --new` prints them"
        raise ImproperlyConfigured(reason) from None
