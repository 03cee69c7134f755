"""lm-eval's own tasks by name, read from a cache: parsing its thousands of files takes seconds."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from evaluators.errors import BrokenPlugin
from evaluators.model import TaskMode
from evaluators.tasks.environment import child_command, child_environment

Kind = Literal["task", "group", "tag"]

_FORMAT = 2
"""Raised when the cached form changes."""

_TUPLES = ("members", "modes")


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """What lm-eval's index knows under a name."""

    kind: Kind
    path: str = ""
    """Its YAML file, relative to lm-eval's folder of tasks; empty for tags."""
    members: tuple[str, ...] = ()
    """The tasks of a group or tag."""
    modes: tuple[TaskMode, ...] = ()
    """How Redraft can put it, by its file; nothing where it cannot be evaluated."""
    summary: str = ""
    version: str = ""


def cache_folder() -> Path:
    """Return the user's cache folder: `REDRAFT_CACHE`, or below `XDG_CACHE_HOME` or `~/.cache`."""
    own = os.environ.get("REDRAFT_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "redraft"


@lru_cache(maxsize=1)
def lm_eval_root() -> Path:
    """Return lm-eval's folder of tasks without importing lm-eval.

    Raises:
        BrokenPlugin: lm-eval is not installed.
    """
    spec = find_spec("lm_eval")
    for root in (spec.submodule_search_locations if spec else None) or ():
        return Path(root) / "tasks"
    raise BrokenPlugin(
        kind="library", name="lm_eval", distribution="lm_eval", reason="it is not installed"
    )


def default_index() -> Mapping[str, IndexEntry]:
    """Return lm-eval's own names; the first call after an upgrade takes seconds to build them."""
    return _load(cache_folder() / f"lm-eval-{version('lm_eval')}-{_state()}.json")


@lru_cache(maxsize=2)
def _load(cached: Path) -> Mapping[str, IndexEntry]:
    try:
        text = cached.read_text(encoding="utf-8")
    except OSError:
        text = _build_elsewhere()
        _keep(cached, text)
    return {
        name: IndexEntry(**fields | {key: tuple(fields.get(key, ())) for key in _TUPLES})
        for name, fields in json.loads(text).items()
    }


def _state() -> str:
    """Digest names, sizes and times of the task files, so that an edited file is noticed."""
    digest = hashlib.sha256(str(_FORMAT).encode())
    pending = [str(lm_eval_root())]
    while pending:
        with os.scandir(pending.pop()) as found:
            for entry in sorted(found, key=lambda entry: entry.name):
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif entry.name.endswith((".yaml", "yaml")):
                    stat = entry.stat()
                    digest.update(f"{entry.path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _build_elsewhere() -> str:
    """Build in a process of its own: lm-eval never enters this one."""
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        child_command("evaluators.tasks.index"),
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise BrokenPlugin(
            kind="library", name="lm_eval", distribution="lm_eval", reason=f"index: {last}"
        )
    return done.stdout


def _keep(cached: Path, text: str) -> None:
    """Write whole or not at all; a folder that cannot be written costs only time."""
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=cached.parent, suffix=".part")
    except OSError:
        return
    part = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        part.replace(cached)
    except OSError:
        part.unlink(missing_ok=True)


def main() -> None:
    """Print the index as JSON."""
    from evaluators.tasks.lm_eval import build_index

    plain = {
        name: {key: value for key, value in asdict(entry).items() if value}
        for name, entry in build_index(lm_eval_root()).items()
    }
    json.dump(plain, sys.stdout)


if __name__ == "__main__":
    main()
