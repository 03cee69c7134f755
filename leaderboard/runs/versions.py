"""Versions of what turns a model's text into results, for manifests."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("redraft", "lm_eval", "Django", "reasoning-gym")


@cache
def server_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that grade and count."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
