"""Find what dead owners left running, by the mark that every runtime carries in its environment."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "REDRAFT_RUNTIME"
"""Variable with the mark; children inherit it, however far they detach themselves."""

_PROC = Path("/proc")
_DEATH = 5.0
"""Seconds that killed processes may take to be gone."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Who started a runtime: a process, told from later ones with its number by its start."""

    attempt: str
    """Different at every start."""
    owner: int
    started: int
    """When the owner started, in clock ticks since the machine did."""
    namespace: str
    """The owner's PID namespace: numbers of another one say nothing here."""

    def __str__(self) -> str:
        """Return the mark as the environment carries it."""
        return f"{self.attempt}/{self.owner}/{self.started}/{self.namespace}"

    @classmethod
    def read(cls, text: str) -> Mark | None:
        """Return the mark that the text spells, if it does."""
        parts = text.split("/")
        if len(parts) != 4 or not (parts[1].isdigit() and parts[2].isdigit()):
            return None
        return cls(parts[0], int(parts[1]), int(parts[2]), parts[3])

    def orphaned(self) -> bool:
        """Tell for certain that the owner is gone."""
        return self.namespace == _namespace() and _started(self.owner) != self.started


def new_mark() -> Mark:
    """Return a mark for a runtime that this process is about to start."""
    pid = os.getpid()
    return Mark(uuid.uuid4().hex, pid, _started(pid) or 0, _namespace())


def kill_marked(attempt: str, *, spare: Collection[int] = ()) -> int:
    """Kill every process that carries the mark of one start; return how many there were."""
    return _kill_all(lambda mark: mark.attempt == attempt, spare=spare)


def kill_leftovers() -> int:
    """Kill the runtimes, and what they started, whose owners are gone; return how many."""
    return _kill_all(Mark.orphaned)


def started_by(owner: int) -> list[int]:
    """Return the processes that carry a mark of this owner, dead or alive."""
    return [pid for pid, mark in _marks() if mark.owner == owner]


def _kill_all(chosen: Callable[[Mark], bool], *, spare: Collection[int] = ()) -> int:
    killed: set[int] = set()
    deadline = time.monotonic() + _DEATH
    # Again until none is left: one that forks while we look has a child that we have not seen.
    while time.monotonic() < deadline:
        found = [pid for pid, mark in _marks() if pid not in spare and chosen(mark)]
        if not found:
            break
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed.update(found)
        time.sleep(0.02)
    return len(killed)


def _marks() -> Iterator[tuple[int, Mark]]:
    """Yield the processes that we may look into and that carry a mark."""
    prefix = f"{VARIABLE}=".encode()
    for folder in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for entry in (folder / "environ").read_bytes().split(b"\0"):
                if entry.startswith(prefix):
                    mark = Mark.read(entry[len(prefix) :].decode("ascii", "replace"))
                    if mark and _state(int(folder.name)) != "Z":
                        yield int(folder.name), mark


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def _state(pid: int) -> str:
    fields = _stat(pid)
    return fields[0] if fields else ""


def _stat(pid: int) -> list[str]:
    """Return the fields behind the program's name, which may hold blanks and brackets itself."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
