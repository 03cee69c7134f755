"""Opened tasks, kept between shards: loading them takes longer than many a shard."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from evaluators.errors import InputError
from evaluators.ports import Task
from evaluators.tasks import TaskSpec, open_tasks

log = logging.getLogger(__name__)

Key = tuple[int, bool]
"""A suite, and whether its tasks are rendered as chats."""


@dataclass(slots=True, eq=False)
class _Book:
    """One suite's tasks in their process, opened and closed by one coroutine."""

    keeper: asyncio.Task[None]
    opened: asyncio.Future[Mapping[str, Task]]
    close: asyncio.Event
    readers: int = 0


class TaskShelf:
    """Keeps the tasks of the suites used last.

    Args:
        most: Suites that are kept open; those in use are never closed.
    """

    def __init__(self, most: int = 2) -> None:
        self._most = most
        self._books: OrderedDict[Key, _Book] = OrderedDict()

    @asynccontextmanager
    async def read(
        self, suite: int, tasks: Sequence[Mapping[str, Any]], *, chat: bool
    ) -> AsyncIterator[Mapping[str, Task]]:
        """Lend the opened tasks of a suite for as long as the block lasts.

        Raises:
            InputError: A task is not installed or cannot be evaluated.
        """
        key = (suite, chat)
        if key not in self._books:
            specs = [TaskSpec.from_wire({**fields, "chat": chat}) for fields in tasks]
            self._books[key] = _start(specs)
        book = self._books[key]
        self._books.move_to_end(key)
        book.readers += 1
        try:
            yield await asyncio.shield(book.opened)
        except InputError:
            # It may have failed for a passing reason: whoever comes next opens it anew.
            if self._books.get(key) is book:
                del self._books[key]
            raise
        finally:
            book.readers -= 1
            await self._tidy(book)

    async def close(self) -> None:
        """Close everything."""
        books, self._books = list(self._books.values()), OrderedDict()
        for book in books:
            book.close.set()
        if books:
            await asyncio.wait([book.keeper for book in books])

    async def _tidy(self, used: _Book) -> None:
        """Close what nobody reads: books that were dropped, and the oldest beyond the most."""
        shelved = list(self._books.values())
        idle = [book for book in shelved if not book.readers]
        leaving = idle[: max(0, len(shelved) - self._most)]
        if used not in shelved and not used.readers:
            leaving.append(used)
        self._books = OrderedDict((k, b) for k, b in self._books.items() if b not in leaving)
        for book in leaving:
            book.close.set()
            await asyncio.wait([book.keeper])


def _start(specs: Sequence[TaskSpec]) -> _Book:
    opened: asyncio.Future[Mapping[str, Task]] = asyncio.get_running_loop().create_future()
    close = asyncio.Event()
    return _Book(asyncio.create_task(_keep(specs, opened, close)), opened, close)


async def _keep(
    specs: Sequence[TaskSpec], opened: asyncio.Future[Mapping[str, Task]], close: asyncio.Event
) -> None:
    """Hold the tasks open until told to close; opening and closing belong to one coroutine."""
    try:
        async with open_tasks(specs) as tasks:
            opened.set_result(tasks)
            await close.wait()
    except Exception as error:
        if opened.done():
            log.exception("closing tasks failed")
            return
        opened.set_exception(error)
        opened.exception()  # marks it as seen: the reader may have gone
