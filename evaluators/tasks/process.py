"""The parent's side of the task process: start, ask, time out, kill, start again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluators import errors
from evaluators.tasks.environment import child_command, child_environment

_TAIL = 4000
_PATIENCE = 2.0
_MOST_AT_ONCE = 64


class ProcessLost(Exception):
    """The process hung or died while it served a request."""


@dataclass(frozen=True, slots=True, eq=False)
class _Judgement:
    """Something to be graded or extracted, and who waits for it."""

    wire: Mapping[str, object]
    caller: asyncio.Future[Any]

    def settle(self, reply: Mapping[str, Any]) -> None:
        if self.caller.done():
            return
        if "error" in reply:
            self.caller.set_exception(_raised(reply))
        else:
            self.caller.set_result(reply["result"])

    def fail(self, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError):
            self.caller.cancel()
        elif not self.caller.done():
            self.caller.set_exception(error)


class TaskProcess:
    """A process of its own for code that may hang or crash; one message at a time."""

    def __init__(
        self, opening: Mapping[str, object], *, load_timeout: float, judge_timeout: float
    ) -> None:
        """Remember what to open.

        Args:
            opening: What every fresh process is asked to open.
            load_timeout: Seconds that opening may take.
            judge_timeout: Seconds that judging the answers to one sample may take.
        """
        self._opening = opening
        self._load_timeout = load_timeout
        self._judge_timeout = judge_timeout
        self._child: _Child | None = None
        self._lock = asyncio.Lock()
        self._flying: set[asyncio.Task[Any]] = set()
        self._waiting: deque[_Judgement] = deque()
        self._suspects = 0
        self._judging: asyncio.Task[None] | None = None

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

    async def judge(self, do: str, **arguments: object) -> Any:
        """Have an answer judged, in one message with all others that wait.

        A message in which the process was lost is sent again piece by piece, so that only the
        answer that did it pays.

        Raises:
            ProcessLost: Judging took too long, or killed the process.
            RedraftError: What judging raised.
        """
        judgement = _Judgement(
            {"do": do, "with": arguments}, asyncio.get_running_loop().create_future()
        )
        self._waiting.append(judgement)
        if self._judging is None:
            self._judging = asyncio.create_task(self._judge_all())
            self._flying.add(self._judging)
            self._judging.add_done_callback(self._landed)
        return await judgement.caller

    async def close(self) -> None:
        """Kill the process and whatever it started."""
        flying = set(self._flying)
        for task in flying:
            task.cancel()
        if flying:
            await asyncio.wait(flying)
        await self._drop()

    async def _judge_all(self) -> None:
        """Send whatever waits, until nothing does."""
        try:
            while self._waiting:
                count = 1 if self._suspects else min(len(self._waiting), _MOST_AT_ONCE)
                self._suspects = max(0, self._suspects - 1)
                await self._judge([self._waiting.popleft() for _ in range(count)])
        finally:
            # Here and not in a callback: whoever comes after the last look must start anew.
            self._judging = None
            while self._waiting:
                self._waiting.popleft().caller.cancel()

    async def _judge(self, sent: Sequence[_Judgement]) -> None:
        items = [judgement.wire for judgement in sent]
        try:
            replies = await self._exchange("judge", {"items": items}, seconds=self._judge_timeout)
        except ProcessLost as lost:
            if len(sent) == 1:
                sent[0].fail(lost)
            else:
                self._suspects = len(sent)
                self._waiting.extendleft(reversed(sent))
        except BaseException as error:
            for judgement in sent:
                judgement.fail(error)
            if not isinstance(error, errors.RedraftError):
                raise
        else:
            for judgement, reply in zip(sent, replies, strict=False):
                judgement.settle(reply)
            # The process answers after a while with what it has done; the rest goes first next.
            self._waiting.extendleft(reversed(sent[len(replies) :]))

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
            raise _raised(reply)
        return reply["result"]

    async def _drop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.kill()


def _raised(reply: Mapping[str, Any]) -> errors.RedraftError:
    error: errors.RedraftError = getattr(errors, reply["error"])(**reply["data"])
    return error


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
