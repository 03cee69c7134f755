"""Public identifiers: short, unguessable, readable, with a prefix that says what they name."""

from __future__ import annotations

import secrets

ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
LENGTH = 12


def public_id(prefix: str) -> str:
    """Return a new identifier such as `run_7fk2…`, about 59 random bits."""
    return f"{prefix}_{''.join(secrets.choice(ALPHABET) for _ in range(LENGTH))}"
