"""The parent's side of the task process: start, ask, time out, kill, start again."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluators import errors
from evaluators.tasks.hosting import ProcessEnded, TaskHost

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
        self,
        host: TaskHost,
        opening: Mapping[str, object],
        *,
        load_timeout: float,
        judge_timeout: float,
    ) -> None:
        """Remember what to open.

        Args:
            host: Forks the process.
            opening: What every fresh process is asked to open.
            load_timeout: Seconds that opening may take.
            judge_timeout: Seconds that judging the answers to one sample may take.
        """
        self._host = host
        self._opening = opening
        self._load_timeout = load_timeout
        self._judge_timeout = judge_timeout
        self._channel: int | None = None
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
            if self._channel is None:
                self._channel = await self._host.open()
                opened = await self._serve("open", self._opening, seconds=self._load_timeout)
                if do is None:
                    return opened
            return await self._serve(str(do), arguments, seconds=seconds)

    async def _serve(self, do: str, arguments: object, *, seconds: float) -> Any:
        channel = self._channel
        if channel is None:
            raise ProcessLost("it is closed")
        try:
            async with asyncio.timeout(seconds):
                body = json.dumps({"do": do, "with": arguments}).encode()
                reply = json.loads(await self._host.ask(channel, body))
        except TimeoutError:
            await self._drop()
            raise ProcessLost(f"took longer than {seconds:g} s and was stopped") from None
        except ProcessEnded as ended:
            await self._drop()
            raise ProcessLost(f"the grading process died ({ended})") from None
        if "error" in reply:
            if do == "open":
                await self._drop()
            raise _raised(reply)
        return reply["result"]

    async def _drop(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            await self._host.kill(channel)


def _raised(reply: Mapping[str, Any]) -> errors.RedraftError:
    error: errors.RedraftError = getattr(errors, reply["error"])(**reply["data"])
    return error
