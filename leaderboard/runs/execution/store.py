"""Stored answers for the engine: lookups that come together are made together."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db import DatabaseError

from evaluators.errors import RuntimeUnavailable
from evaluators.model import Answered, Request
from leaderboard.runs.execution.database import DatabaseThread
from leaderboard.runs.services.generations import (
    Made,
    find_generations,
    keep_generations,
    storable_answer,
)

T = TypeVar("T")


@dataclass(slots=True)
class _Waiting:
    """What has been asked since the last batch went off."""

    gets: dict[str, asyncio.Future[Answered | None]] = field(default_factory=dict)
    puts: dict[str, tuple[Made, asyncio.Future[Answered]]] = field(default_factory=dict)


class DatabaseStore:
    """`evaluators.ports.Store` on the generations table.

    While one batch is with the database, all that is asked meanwhile becomes the next one: a
    hundred calls in flight cost a few statements, and nobody waits for a timer.

    Args:
        database: The thread that asks the database.
        fingerprint: Identity of the model; rows of any other are never served.
        scope: What the answers may be shared within, where that is less than everything: an
            endpoint's within one submission.
    """

    def __init__(self, database: DatabaseThread, *, fingerprint: str, scope: str = "") -> None:
        self._database = database
        self._fingerprint = fingerprint
        self._scope = scope
        self._waiting = _Waiting()
        self._pump: asyncio.Task[None] | None = None

    async def get(self, key: str) -> Answered | None:
        """Return the stored answer, or None."""
        key = self._scoped(key)
        future = self._waiting.gets.get(key)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            self._waiting.gets[key] = future
        self._start()
        return await asyncio.shield(future)

    async def put(self, key: str, request: Request, answered: Answered) -> Answered:
        """Store an answer and return the one that counts: the first that was stored."""
        del request
        key = self._scoped(key)
        kept = storable_answer(answered)
        if key in self._waiting.puts:
            _, future = self._waiting.puts[key]
        else:
            future = asyncio.get_running_loop().create_future()
            self._waiting.puts[key] = (Made(self._fingerprint, kept), future)
        self._start()
        return await asyncio.shield(future)

    async def close(self) -> None:
        """See the last batch off."""
        if self._pump is not None:
            await asyncio.wait([self._pump])

    def _scoped(self, key: str) -> str:
        if not self._scope:
            return key
        return hashlib.sha256(f"{self._scope}/{key}".encode()).hexdigest()

    def _start(self) -> None:
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        while self._waiting.gets or self._waiting.puts:
            batch, self._waiting = self._waiting, _Waiting()
            try:
                await self._exchange(batch)
            except asyncio.CancelledError:
                _fail(batch, "cancelled")
                raise
            except DatabaseError as error:
                _fail(batch, f"the answer could not be stored: {error}")
            except Exception:
                _fail(batch, "the store failed")
                raise

    async def _exchange(self, batch: _Waiting) -> None:
        if batch.puts:
            made = {key: entry for key, (entry, _) in batch.puts.items()}
            others = await self._database(keep_generations, made)
            for key, (entry, future) in batch.puts.items():
                _settle(future, others.get(key, entry.answered))
        if batch.gets:
            found = await self._database(
                find_generations, list(batch.gets), fingerprint=self._fingerprint
            )
            for key, lookup in batch.gets.items():
                _settle(lookup, found.get(key))


def _settle(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)


def _fail(batch: _Waiting, reason: str) -> None:
    """Let nobody wait for ever for a batch that failed; its samples are made again."""
    lookups: list[asyncio.Future[Any]] = [*batch.gets.values()]
    for future in (*lookups, *(kept for _, kept in batch.puts.values())):
        if not future.done():
            future.set_exception(RuntimeUnavailable(reason=reason))
            future.exception()  # marks it as seen: perhaps nobody waits any more
