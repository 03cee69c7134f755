"""The parent's side of the host process: one pipe, a channel per task, frames as they come."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from evaluators.tasks.environment import child_command, child_environment

ENDED = 1 << 31
"""Marks the channel of a frame that tells how a process ended, as in `evaluators.tasks.host`."""

_TAIL = 4000
_PATIENCE = 2.0


class ProcessEnded(Exception):
    """The process behind a channel is gone; the text says how it ended."""


class TaskHost:
    """Starts the host when it is needed, and again should it be lost."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._readers: list[asyncio.Task[None]] = []
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._endings: dict[int, asyncio.Future[str]] = {}
        self._channels = 0
        self._tail = b""

    async def open(self) -> int:
        """Return a new channel; its process begins with the first request."""
        async with self._starting:
            if self._process is None or self._process.returncode is not None:
                await self._start()
        self._channels += 1
        self._endings[self._channels] = asyncio.get_running_loop().create_future()
        return self._channels

    async def ask(self, channel: int, body: bytes) -> bytes:
        """Send a request and return what answers it; one at a time per channel.

        Raises:
            ProcessEnded: The process is gone, and with what last words.
        """
        ending = self._endings[channel]
        if ending.done():
            raise ProcessEnded(ending.result())
        waiting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[channel] = waiting
        try:
            await self._send(channel, body)
            either: set[asyncio.Future[Any]] = {waiting, ending}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._waiting[channel]
        if not waiting.done():
            raise ProcessEnded(ending.result())
        return waiting.result()

    async def kill(self, channel: int) -> None:
        """Kill the process behind a channel and whatever it started."""
        ending = self._endings[channel]
        if not ending.done():
            await self._send(channel, b"")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    await asyncio.shield(ending)
        del self._endings[channel]

    async def close(self) -> None:
        """Have the host kill everything, and see it off."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        async with _seen_off(process, self._readers):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    await process.wait()

    async def _start(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *child_command("evaluators.tasks.host", str(os.getpid())),
            env=child_environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self._process, self._tail = process, b""
        self._readers = [
            asyncio.create_task(self._keep_tail(process)),
            asyncio.create_task(self._read(process)),
        ]

    async def _send(self, channel: int, body: bytes) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        with contextlib.suppress(ConnectionError):  # its end is told by the reader
            process.stdin.write(len(body).to_bytes(4) + channel.to_bytes(4) + body)
            await process.stdin.drain()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Hand frames to those who wait for them, until the host ends."""
        source = process.stdout
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while source is not None:
                header = await source.readexactly(8)
                body = await source.readexactly(int.from_bytes(header[:4]))
                self._take(int.from_bytes(header[4:]), body)
        code = await process.wait()
        how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        words = self._tail.decode("utf-8", "replace").strip().rpartition("\n")[2].strip()
        for ending in self._endings.values():
            if not ending.done():
                ending.set_result(f"{how}: {words}" if words else how)

    def _take(self, channel: int, body: bytes) -> None:
        if channel & ENDED:
            ending = self._endings.get(channel ^ ENDED)
            if ending is not None and not ending.done():
                ending.set_result(body.decode("utf-8", "replace"))
            return
        waiting = self._waiting.get(channel)
        if waiting is not None and not waiting.done():
            waiting.set_result(body)

    async def _keep_tail(self, process: asyncio.subprocess.Process) -> None:
        while process.stderr is not None:
            chunk = await process.stderr.read(_TAIL)
            if not chunk:
                return
            self._tail = (self._tail + chunk)[-_TAIL:]


@asynccontextmanager
async def _seen_off(
    process: asyncio.subprocess.Process, readers: list[asyncio.Task[None]]
) -> AsyncIterator[None]:
    """Whatever the host does in the block, leave no process, task or pipe of it behind."""
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        for reader in readers:
            reader.cancel()
        transport: asyncio.SubprocessTransport = process._transport  # type: ignore[attr-defined]  # noqa: SLF001 - there is no public way to close the pipes
        transport.close()
