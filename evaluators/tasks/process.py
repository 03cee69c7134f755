"""The parent's side of the task process: start, ask, time out, kill, start again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Mapping
from typing import Any

from evaluators import errors
from evaluators.tasks.environment import child_command, child_environment

_TAIL = 4000
_PATIENCE = 2.0


class ProcessLost(Exception):
    """The process hung or died while it served a request."""


class TaskProcess:
    """A process of its own for code that may hang or crash; one request at a time."""

    def __init__(self, opening: Mapping[str, object], *, load_timeout: float) -> None:
        """Remember what to open.

        Args:
            opening: What every fresh process is asked to open.
            load_timeout: Seconds that opening may take.
        """
        self._opening = opening
        self._load_timeout = load_timeout
        self._child: _Child | None = None
        self._lock = asyncio.Lock()
        self._flying: set[asyncio.Task[Any]] = set()

    async def open(self) -> Any:
        """Start, open the tasks and return their descriptions."""
        return await self._apart(self._exchange(None, {}, seconds=self._load_timeout))

    async def ask(self, do: str, seconds: float, **arguments: object) -> Any:
        """Have a request served; a process that was lost is started again first.

        Raises:
            ProcessLost: It hung longer than `seconds`, or died.
            RedraftError: What serving it raised.
        """
        return await self._apart(self._exchange(do, arguments, seconds=seconds))

    async def close(self) -> None:
        """Kill the process and whatever it started."""
        flying = set(self._flying)
        for task in flying:
            task.cancel()
        if flying:
            await asyncio.wait(flying)
        await self._drop()

    async def _apart(self, exchange: Any) -> Any:
        """Finish an exchange even if its caller is cancelled: the pipe must stay in step."""
        task = asyncio.create_task(exchange)
        self._flying.add(task)
        task.add_done_callback(self._landed)
        return await asyncio.shield(task)

    def _landed(self, task: asyncio.Task[Any]) -> None:
        self._flying.discard(task)
        if not task.cancelled():
            task.exception()

    async def _exchange(self, do: str | None, arguments: object, *, seconds: float) -> Any:
        async with self._lock:
            if self._child is None:
                self._child = await _Child.start()
                opened = await self._serve("open", self._opening, seconds=self._load_timeout)
                if do is None:
                    return opened
            return await self._serve(str(do), arguments, seconds=seconds)

    async def _serve(self, do: str, arguments: object, *, seconds: float) -> Any:
        child = self._child
        if child is None:
            raise ProcessLost("it is closed")
        try:
            async with asyncio.timeout(seconds):
                reply = await child.ask({"do": do, "with": arguments})
        except TimeoutError:
            await self._drop()
            raise ProcessLost(f"took longer than {seconds:g} s and was stopped") from None
        except (OSError, asyncio.IncompleteReadError):
            await self._drop()
            raise ProcessLost(f"the grading process died ({child.obituary()})") from None
        if "error" in reply:
            if do == "open":
                await self._drop()
            raise getattr(errors, reply["error"])(**reply["data"])
        return reply["result"]

    async def _drop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.kill()


class _Child:
    """A running process and its pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._tail = b""
        self._drain = asyncio.create_task(self._keep_tail())

    @classmethod
    async def start(cls) -> _Child:
        process = await asyncio.create_subprocess_exec(
            *child_command("evaluators.tasks.worker", str(os.getpid())),
            env=child_environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        return cls(process)

    async def ask(self, request: object) -> Any:
        source, sink = self._process.stdout, self._process.stdin
        if source is None or sink is None:
            raise ConnectionError
        body = json.dumps(request).encode()
        sink.write(len(body).to_bytes(4) + body)
        await sink.drain()
        length = int.from_bytes(await source.readexactly(4))
        return json.loads(await source.readexactly(length))

    async def kill(self) -> None:
        """Kill the whole session: a grader may have started processes of its own."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        if self._process.stdin is not None:
            self._process.stdin.close()
        with contextlib.suppress(TimeoutError):  # what escaped the session may hold our pipes open
            async with asyncio.timeout(_PATIENCE):
                await self._process.wait()
                await asyncio.shield(self._drain)
        self._drain.cancel()
        transport: asyncio.SubprocessTransport = self._process._transport  # type: ignore[attr-defined]  # noqa: SLF001 - there is no public way to close the pipes
        transport.close()

    def obituary(self) -> str:
        """Say how it ended: its last words, or the signal."""
        words = self._tail.decode("utf-8", "replace").strip().rpartition("\n")[2].strip()
        code = self._process.returncode or 0
        how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return f"{how}: {words}" if words else how

    async def _keep_tail(self) -> None:
        while self._process.stderr is not None:
            chunk = await self._process.stderr.read(_TAIL)
            if not chunk:
                return
            self._tail = (self._tail + chunk)[-_TAIL:]
