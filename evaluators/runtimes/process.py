"""One runtime's child process: in a session of its own, killed as a whole, always reaped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaluators.errors import BadModel, OutOfResources, RuntimeUnavailable
from evaluators.runtimes.leftovers import VARIABLE, kill_leftovers, kill_marked, new_mark

_LAST_LINES = 2000
"""Characters of the log that are looked at for a reason."""

_log = logging.getLogger(__name__)


class Child:
    """A started child; its standard input stays open as long as we live."""

    def __init__(self, process: Process, log: Path, *, attempt: str) -> None:
        self._process = process
        self._log = log
        self._attempt = attempt
        self._dying: asyncio.Task[Mapping[str, Any] | None] | None = None

    @classmethod
    async def start(cls, command: list[str], *, env: Mapping[str, str], log: Path) -> Child:
        """Start the command in its own session, its errors going to the log.

        What earlier owners left running when they were killed is killed first: it may hold a GPU.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        if killed := await asyncio.to_thread(kill_leftovers):
            _log.warning("killed %d processes of runtimes whose owners are gone", killed)
        mark = new_mark()
        with log.open("ab") as errors:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=PIPE,
                    stdout=PIPE,
                    stderr=errors,
                    env={**env, VARIABLE: str(mark)},
                    start_new_session=True,
                )
            except OSError as error:
                raise RuntimeUnavailable(reason=f"cannot start {command[0]}: {error}") from error
        return cls(process, log, attempt=mark.attempt)

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its group."""
        return self._process.pid

    def alive(self) -> bool:
        """Tell whether the process has not been seen to end."""
        return self._process.returncode is None

    async def ready(
        self,
        *,
        label: str,
        timeout: float,  # noqa: ASYNC109 - a limit on the child, in seconds
    ) -> Mapping[str, Any]:
        """Wait for the child's word that it serves, and return what it says of itself.

        Raises:
            BadModel: It says that it cannot, and why.
            OutOfResources: It cannot for want of memory.
            RuntimeUnavailable: It died or took too long.
        """
        try:
            async with asyncio.timeout(timeout):
                event = await self._event()
        except TimeoutError as error:
            raise RuntimeUnavailable(
                reason=f"the runtime was not ready after {timeout:g} s"
            ) from error
        if event is None:
            raise RuntimeUnavailable(reason=await self._epitaph())
        if event.get("event") != "ready":
            raise _refusal(label, event)
        facts: Mapping[str, Any] = event["facts"]
        return facts

    async def kill(self) -> None:
        """Kill the whole group, and what left it, and wait until the child is reaped."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        await self.wait()
        # In a PID namespace nothing is left by now; elsewhere an engine may have detached itself.
        await asyncio.to_thread(kill_marked, self._attempt)

    async def wait(self) -> int:
        """Wait for the end; negative numbers are signals."""
        return await self._process.wait()

    async def last_words(self, *, within: float) -> str | None:
        """Return why it ends, if it ends within so many seconds and says so."""
        if self._dying is None:
            self._dying = asyncio.create_task(self._event())
        await asyncio.wait({self._dying}, timeout=within)
        event = self._dying.result() if self._dying.done() else None
        return str(event["reason"]) if event and event.get("reason") else None

    async def _event(self) -> Mapping[str, Any] | None:
        """Return the first JSON object on the control channel, or None when it is closed."""
        assert self._process.stdout is not None  # noqa: S101 - it was asked for at the start
        while line := await self._process.stdout.readline():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and "event" in event:
                    return event
        return None

    async def _epitaph(self) -> str:
        code = await self.wait()
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        lines = self._log.read_text(errors="replace")[-_LAST_LINES:].strip().splitlines()
        return f"the runtime died while starting ({how}){': ' + lines[-1] if lines else ''}"


def _refusal(label: str, event: Mapping[str, Any]) -> BadModel | RuntimeUnavailable:
    """Return the error for a child that says why it cannot serve, for good or for now."""
    reason = str(event.get("reason", "it cannot be served"))
    if event.get("event") == "unavailable":
        return RuntimeUnavailable(reason=reason)
    shortage = event.get("shortage")
    if isinstance(shortage, dict):
        return OutOfResources(model=label, reason=reason, **shortage)
    return BadModel(model=label, reason=reason)
