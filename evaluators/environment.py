"""What of our environment a child process may see: named variables only, so never a secret."""

from __future__ import annotations

import os
from collections.abc import Iterable

_NAMES = frozenset({
    "HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "REDRAFT_CACHE",
    "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV",
})  # fmt: skip
_PREFIXES = ("LC_", "OMP_", "XDG_")


def inherited(names: Iterable[str] = (), prefixes: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the variables that every child may see, and those that this kind of child needs.

    Args:
        names: Further variables.
        prefixes: Beginnings of further variables.
    """
    allowed = {*_NAMES, *names}
    beginnings = (*_PREFIXES, *prefixes)
    return {k: v for k, v in os.environ.items() if k in allowed or k.startswith(beginnings)}
