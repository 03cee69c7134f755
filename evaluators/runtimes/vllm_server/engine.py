"""The engine's process: its words pass through to our log, and the last of them are kept."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections import deque
from collections.abc import Mapping, Sequence

from evaluators.runtimes.leftovers import VARIABLE, Mark, kill_marked

_KEPT = 400
"""Lines of the log that are looked at for a reason."""

_LINE = 2**20
"""Bytes of one line; vLLM prints its whole configuration on one."""


class Engine:
    """A process that we started, and what it said last."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._lines: deque[str] = deque(maxlen=_KEPT)
        self._pump = asyncio.create_task(self._pass_on())

    @classmethod
    async def start(cls, command: Sequence[str], *, env: Mapping[str, str]) -> Engine:
        """Start the command; OSError when there is no such program."""
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, env=dict(env), limit=_LINE
        )
        return cls(process)

    @property
    def lines(self) -> list[str]:
        """Its last lines."""
        return list(self._lines)

    async def ended(self) -> int:
        """Wait for its end and for its last words; return the exit status."""
        status = await self._process.wait()
        # What it started may hold the pipe open, and then says nothing that matters any more.
        await asyncio.wait([self._pump], timeout=1.0)
        return status

    async def _pass_on(self) -> None:
        stream = self._process.stdout
        assert stream is not None  # noqa: S101 - it was asked for at the start
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # longer than the limit, and thrown away
                continue
            if not line:
                return
            text = line.decode("utf-8", "replace")
            self._lines.append(text)
            sys.stderr.write(text)
            sys.stderr.flush()


def kill_descendants() -> None:
    """Kill whatever carries our mark, except ourselves and the sandbox's first process.

    In a PID namespace the kernel does this when we end; without one nobody else would.
    """
    mark = Mark.read(os.environ.get(VARIABLE, ""))
    if mark is not None:
        kill_marked(mark.attempt, spare={os.getpid(), os.getppid()})


def describe(status: int) -> str:
    """Say how a process ended."""
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"
