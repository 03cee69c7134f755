"""What a list page may be asked for: query strings checked against allow-lists."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from django.core.exceptions import BadRequest
from django.http import QueryDict

LONGEST_SEARCH = 100
"""Characters of a text filter; nobody types more."""


def choice(query: QueryDict, key: str, allowed: Collection[str], default: str = "") -> str:
    """Return the value of a key if it is one of those allowed.

    Raises:
        BadRequest: It is something else; the message says what is allowed.
    """
    value = query.get(key, "")
    if not value:
        return default
    if value not in allowed:
        raise BadRequest(f"{key} must be one of: {', '.join(allowed)}.")
    return value


def choices(query: QueryDict, key: str, allowed: Collection[str]) -> list[str]:
    """Return all values of a key that may be given several times.

    Raises:
        BadRequest: One is not among those allowed.
    """
    values = [value for value in query.getlist(key) if value]
    if any(value not in allowed for value in values):
        raise BadRequest(f"{key} must be one of: {', '.join(allowed)}.")
    return values


def number(query: QueryDict, key: str, default: int = 1, most: int = 10**9) -> int:
    """Return a positive whole number.

    Raises:
        BadRequest: It is something else.
    """
    value = query.get(key, "")
    if not value:
        return default
    if not (value.isascii() and value.isdecimal() and len(value) < 12 and 1 <= int(value) <= most):
        raise BadRequest(f"{key} must be a whole number from 1 to {most}.")
    return int(value)


def search(query: QueryDict, key: str) -> str:
    """Return a text filter without surrounding space, NUL or excess length."""
    return query.get(key, "").replace("\0", "").strip()[:LONGEST_SEARCH]


def kept(state: Mapping[str, object], *, but: Collection[str] = ()) -> dict[str, str]:
    """Return the parts of a view state that a link or form has to carry on."""
    return {key: str(value) for key, value in state.items() if value and key not in but}
