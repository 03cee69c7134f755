"""Small facts that are dear to find out, kept on disk between processes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from evaluators.model import Json


def cache_dir() -> Path:
    """Return the folder for derived facts; deleting it costs time and nothing else."""
    base = (
        os.environ.get("REDRAFT_CACHE")
        or os.environ.get("XDG_CACHE_HOME")
        or Path.home() / ".cache"
    )
    return Path(base) / "redraft"


def remembered(kind: str, key: str, compute: Callable[[], Json]) -> Json:
    """Return the stored value for the key, computing and storing it the first time."""
    path = cache_dir() / kind / hashlib.sha256(key.encode()).hexdigest()
    with contextlib.suppress(OSError, ValueError):
        stored: Json = json.loads(path.read_text())
        return stored
    value = compute()
    # A cache that cannot be written, on a read-only disk say, must not stop anybody.
    with contextlib.suppress(OSError):
        _write(path, json.dumps(value))
    return value


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    Path(name).replace(path)
