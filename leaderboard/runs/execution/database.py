"""The event loop's way to the database: a thread of its own, with a connection of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError, connections

log = logging.getLogger(__name__)

FIRST_WAIT = 0.2
LONGEST_WAIT = 5.0

P = ParamSpec("P")
T = TypeVar("T")

DATABASE_AWAY = (OperationalError, InterfaceError)
"""What Django raises when the connection or the server is gone."""


class DatabaseThread:
    """Runs database functions one after the other, off the event loop.

    A lost connection is made anew and the function called again, for as long as the caller waits:
    the functions are safe to repeat, because a commit whose outcome is unknown is checked by fence
    and key.
    """

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function until the database answers."""
        loop = asyncio.get_running_loop()
        wait = FIRST_WAIT
        while True:
            try:
                return await loop.run_in_executor(
                    self._pool, partial(_with_connection, function, *args, **kwargs)
                )
            except DATABASE_AWAY as error:
                log.warning("database away (%s), again in %.1f s", _first_line(error), wait)
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    async def close(self) -> None:
        """Finish what was asked for, and close the connection."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._pool, connections.close_all)
        self._pool.shutdown(wait=False)


def _with_connection(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return function(*args, **kwargs)
    except DATABASE_AWAY:
        connections.close_all()
        raise


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
