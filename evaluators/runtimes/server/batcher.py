"""Dynamic batching: one thread that keeps a model busy with whatever rows are waiting."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from evaluators.model import Sampling
from evaluators.runtimes.server.protocol import Call, Facts, Reply

_GATHER = 0.05
"""Seconds that an idle model waits for requests that have arrived and are still being tokenised."""

_WINDOW = 4
"""The waiting rows that are looked at for similar lengths, as a multiple of the free places."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Work:
    """A call made ready for the model."""

    prompt: object
    """Whatever the backend made of the prompt."""
    length: int
    """Its tokens, or 0 when unknown."""
    sampling: Sampling


_Caller = tuple[asyncio.AbstractEventLoop, asyncio.Future[Reply]]

Answered = tuple[int, Reply | Exception]
"""A ticket, and what became of its row."""


class Backend(Protocol):
    """A model that computes several rows at a time; all but `prepare` is called from one thread."""

    @property
    def facts(self) -> Facts:
        """What the model says of itself."""
        ...

    @property
    def joins(self) -> bool:
        """Whether rows may join a batch that is running."""
        ...

    @property
    def rows(self) -> int:
        """How many rows are in flight."""
        ...

    def prepare(self, call: Call) -> Work:
        """Render and tokenise, or raise Refused; called from a thread of its own."""
        ...

    def step(self, joining: Sequence[tuple[int, Work]]) -> Sequence[Answered]:
        """Take the new rows aboard, compute a little, and return the rows that are finished."""
        ...

    def drop(self, tickets: AbstractSet[int]) -> None:
        """Forget rows that nobody waits for."""
        ...

    def clear(self) -> None:
        """Forget everything in flight, after a fault."""
        ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    ticket: int
    work: Work


class Batcher:
    """Answers calls by batching them through a backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._size = max(1, backend.facts.batch_size)
        self._tickets = itertools.count()
        self._changed = threading.Condition()
        self._preparing = 0
        self._queue: list[_Waiting] = []
        self._dropped: set[int] = set()
        self._futures: dict[int, _Caller] = {}
        self._prepare_thread = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        threading.Thread(target=self._run, name="model", daemon=True).start()

    @property
    def facts(self) -> Facts:
        """What the model says of itself."""
        return self._backend.facts

    async def answer(self, call: Call) -> Reply:
        """Wait for a row of the batch; cancelling gives the row up."""
        loop = asyncio.get_running_loop()
        ticket = next(self._tickets)
        future: asyncio.Future[Reply] = loop.create_future()
        with self._changed:
            self._preparing += 1
        try:
            work = await loop.run_in_executor(self._prepare_thread, self._backend.prepare, call)
        except BaseException:
            self._prepared()
            raise
        self._prepared(_Waiting(ticket, work), (loop, future))
        try:
            return await future
        except asyncio.CancelledError:
            self._give_up(ticket)
            raise

    def _prepared(self, waiting: _Waiting | None = None, caller: _Caller | None = None) -> None:
        with self._changed:
            self._preparing -= 1
            if waiting and caller:
                self._queue.append(waiting)
                self._futures[waiting.ticket] = caller
            self._changed.notify_all()

    def _give_up(self, ticket: int) -> None:
        with self._changed:
            self._futures.pop(ticket, None)
            self._queue = [waiting for waiting in self._queue if waiting.ticket != ticket]
            self._dropped.add(ticket)

    def _run(self) -> None:
        """Serve for ever; a fault fails the rows aboard and nobody else."""
        while True:
            joining = self._next()
            aboard = {waiting.ticket for waiting in joining}
            try:
                done = self._backend.step([(w.ticket, w.work) for w in joining])
            except Exception as error:  # noqa: BLE001 - the thread must outlive every fault
                _log.exception("A batch failed")
                done = self._failed(aboard, error)
            for ticket, outcome in done:
                self._deliver(ticket, outcome)

    def _failed(self, aboard: set[int], error: Exception) -> list[Answered]:
        """Return the error for every row in flight, which is every row that does not wait."""
        self._backend.clear()
        with self._changed:
            waiting = {waiting.ticket for waiting in self._queue}
            return [(ticket, error) for ticket in {*self._futures, *aboard} - waiting]

    def _next(self) -> list[_Waiting]:
        """Return the rows that join now, after waiting until there is anything to do."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._backend.rows)
            if not self._backend.rows:
                self._changed.wait_for(self._gathered, timeout=_GATHER)
            dropped, self._dropped = self._dropped, set()
        if dropped:
            self._backend.drop(dropped)
        rows = self._backend.rows
        if rows and not self._backend.joins:
            return []
        with self._changed:
            return self._take(self._size - rows)

    def _gathered(self) -> bool:
        return not self._preparing or len(self._queue) >= self._size

    def _take(self, free: int) -> list[_Waiting]:
        """Take the row that waits longest, and of those behind it the ones of like length."""
        if free <= 0 or not self._queue:
            return []
        eldest, *others = self._queue[: free * _WINDOW]
        others.sort(key=lambda waiting: abs(waiting.work.length - eldest.work.length))
        taken = [eldest, *others[: free - 1]]
        chosen = {waiting.ticket for waiting in taken}
        self._queue = [waiting for waiting in self._queue if waiting.ticket not in chosen]
        return taken

    def _deliver(self, ticket: int, outcome: Reply | Exception) -> None:
        with self._changed:
            entry = self._futures.pop(ticket, None)
        if entry:
            loop, future = entry
            loop.call_soon_threadsafe(_resolve, future, outcome)


def _resolve(future: asyncio.Future[Reply], outcome: Reply | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
