"""Dynamic batching: one thread that keeps a model busy with whatever rows are waiting."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from evaluators.model import Sampling
from evaluators.runtimes.server.protocol import Call, Facts, LikelihoodCall, Reply, Weighed, require

_GATHER = 0.05
"""Seconds that an idle model waits for requests that have arrived and are still being tokenised."""

_WINDOW = 4
"""The waiting rows that are looked at for similar lengths, as a multiple of the free places."""

_WEIGHED_TOGETHER = 4
"""The sequences that are weighed at a time, as a multiple of the batch size."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Work:
    """A call made ready for the model."""

    prompt: object
    """Whatever the backend made of the prompt."""
    length: int
    """Its tokens, or 0 when unknown."""
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Weighing:
    """A likelihood call made ready for the model."""

    prompt: object
    """Whatever the backend made of prompt and choices."""
    sequences: int
    """How many sequences the model has to read for it."""


_Outcome = Reply | Weighed | Exception
_Caller = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]"]
_Ready = TypeVar("_Ready", Work, Weighing)

Answered = tuple[int, Reply | Exception]
"""A ticket, and what became of its row."""


class Backend(Protocol):
    """A model that computes several rows at a time.

    All but what prepares is called from one thread, which steps and weighs by turns.
    """

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

    def prepare_weighing(self, call: LikelihoodCall) -> Weighing:
        """Render and tokenise, or raise Refused; called from the thread that prepares."""
        ...

    def weigh(self, waiting: Sequence[Weighing]) -> Sequence[Weighed | Exception]:
        """Answer likelihood calls that have waited together, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    ticket: int
    work: Work


@dataclass(slots=True)
class _Turns:
    """Shares the model's time between generating and weighing while both are wanted."""

    generating: float = 0.0
    """Seconds since both have been wanted."""
    weighing: float = 0.0

    def weighs_next(self, *, rows: bool, calls: bool) -> bool:
        """Tell whose turn it is, given whether there are rows to generate and calls to weigh."""
        if not (rows and calls):
            self.generating = self.weighing = 0.0
            return calls
        return self.weighing <= self.generating


class Batcher:
    """Answers calls by batching them through a backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._size = max(1, backend.facts.batch_size)
        self._tickets = itertools.count()
        self._changed = threading.Condition()
        self._preparing = 0
        self._queue: list[_Waiting] = []
        self._weighings: dict[int, Weighing] = {}
        self._turns = _Turns()
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
        require(call, self.facts.capabilities)

        def enqueue(ticket: int, work: Work) -> None:
            self._queue.append(_Waiting(ticket, work))

        reply = await self._submit(lambda: self._backend.prepare(call), enqueue)
        assert isinstance(reply, Reply)  # noqa: S101 - rows get replies
        return reply

    async def weigh(self, call: LikelihoodCall) -> Weighed:
        """Wait until the choices are weighed; cancelling gives the place in the queue up."""
        require(call, self.facts.capabilities)
        weighed = await self._submit(
            lambda: self._backend.prepare_weighing(call), self._weighings.__setitem__
        )
        assert isinstance(weighed, Weighed)  # noqa: S101 - likelihood calls get likelihoods
        return weighed

    async def _submit(
        self, prepare: Callable[[], _Ready], enqueue: Callable[[int, _Ready], None]
    ) -> object:
        loop = asyncio.get_running_loop()
        ticket = next(self._tickets)
        future: asyncio.Future[object] = loop.create_future()
        with self._changed:
            self._preparing += 1
        try:
            ready = await loop.run_in_executor(self._prepare_thread, prepare)
        except BaseException:
            self._prepared()
            raise
        with self._changed:
            enqueue(ticket, ready)
            self._futures[ticket] = (loop, future)
            self._prepared()
        try:
            return await future
        except asyncio.CancelledError:
            self._give_up(ticket)
            raise

    def _prepared(self) -> None:
        with self._changed:
            self._preparing -= 1
            self._changed.notify_all()

    def _give_up(self, ticket: int) -> None:
        with self._changed:
            self._futures.pop(ticket, None)
            self._queue = [waiting for waiting in self._queue if waiting.ticket != ticket]
            if self._weighings.pop(ticket, None) is None:
                self._dropped.add(ticket)

    def _run(self) -> None:
        """Serve for ever; a fault fails those aboard and nobody else."""
        while True:
            weighs = self._wait()
            started = time.monotonic()
            done = self._weigh() if weighs else self._step()
            for ticket, outcome in done:
                self._deliver(ticket, outcome)
            spent = time.monotonic() - started
            if weighs:
                self._turns.weighing += spent
            else:
                self._turns.generating += spent

    def _wait(self) -> bool:
        """Wait until there is anything to do; tell whether it is to weigh."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._weighings or self._backend.rows)
            if not self._backend.rows:
                self._changed.wait_for(self._gathered, timeout=_GATHER)
            rows = bool(self._queue or self._backend.rows)
            return self._turns.weighs_next(rows=rows, calls=bool(self._weighings))

    def _step(self) -> Sequence[tuple[int, _Outcome]]:
        joining = self._joining()
        try:
            return self._backend.step([(w.ticket, w.work) for w in joining])
        except Exception as error:  # noqa: BLE001 - the thread must outlive every fault
            _log.exception("A batch failed")
            return self._failed({waiting.ticket for waiting in joining}, error)

    def _failed(self, aboard: set[int], error: Exception) -> list[tuple[int, _Outcome]]:
        """Return the error for every row in flight, which is every row that does not wait."""
        self._backend.clear()
        with self._changed:
            waiting = {*(waiting.ticket for waiting in self._queue), *self._weighings}
            return [(ticket, error) for ticket in {*self._futures, *aboard} - waiting]

    def _weigh(self) -> Sequence[tuple[int, _Outcome]]:
        """Answer the calls that have waited longest, as many as make a few full batches."""
        taken: dict[int, Weighing] = {}
        room = self._size * _WEIGHED_TOGETHER
        with self._changed:
            for ticket, weighing in self._weighings.items():
                if taken and room < weighing.sequences:
                    break
                taken[ticket] = weighing
                room -= weighing.sequences
            for ticket in taken:
                del self._weighings[ticket]
        if not taken:
            return []
        try:
            return list(zip(taken, self._backend.weigh([*taken.values()]), strict=True))
        except Exception as error:  # noqa: BLE001 - the thread must outlive every fault
            _log.exception("Likelihoods failed")
            return [(ticket, error) for ticket in taken]

    def _joining(self) -> list[_Waiting]:
        """Return the rows that join now, after forgetting those that were given up."""
        with self._changed:
            dropped, self._dropped = self._dropped, set()
        if dropped:
            self._backend.drop(dropped)
        rows = self._backend.rows
        if rows and not self._backend.joins:
            return []
        with self._changed:
            return self._take(self._size - rows)

    def _gathered(self) -> bool:
        waiting = len(self._queue) + len(self._weighings)
        return not self._preparing or waiting >= self._size

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

    def _deliver(self, ticket: int, outcome: _Outcome) -> None:
        with self._changed:
            entry = self._futures.pop(ticket, None)
        if entry:
            loop, future = entry
            loop.call_soon_threadsafe(_resolve, future, outcome)


def _resolve(future: asyncio.Future[Any], outcome: _Outcome) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
