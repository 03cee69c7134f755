"""The claimer: takes shards of one engine at a time and keeps its runtime warm between them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from leaderboard.runs.execution.job import Tools
from leaderboard.runs.execution.plugins import Plugins
from leaderboard.runs.execution.session import Session
from leaderboard.runs.models import Worker
from leaderboard.runs.services import claim

log = logging.getLogger(__name__)


class Claimer:
    """One per worker process; looks for work by itself, and sooner when nudged."""

    def __init__(self, tools: Tools, *, classes: Sequence[str], isolation: str) -> None:
        self.polls = 0
        """Grows with every look at the runs table: whoever watches sees that the worker lives."""
        self._tools = tools
        self._classes = classes
        self._isolation = isolation
        self._plugins = Plugins()
        self._session: Session | None = None
        self._wake = asyncio.Event()
        self._draining = False
        self._state = ("", "")

    def nudge(self) -> None:
        """Look for work now; call it on the event loop."""
        self._wake.set()

    def drain(self) -> None:
        """Take no more work, let go of what is in hand, and end; call it on the event loop."""
        self._draining = True
        self._wake.set()

    async def run(self, *, until_idle: bool = False) -> None:
        """Work until drained.

        Args:
            until_idle: End as soon as nothing is in hand and nothing can be claimed.
        """
        try:
            while not self._draining:
                self._wake.clear()
                if await self._step():
                    continue
                if until_idle and not (self._session and self._session.jobs):
                    break
                await self._rest()
        finally:
            await self._end()

    async def _step(self) -> bool:
        """Take one shard if there is room and one to take; tell whether there may be more."""
        self.polls += 1
        session = await self._usable_session()
        if session is not None and not self._has_room(session):
            return False
        claimed = time.monotonic()
        able = await self._tools.database(self._plugins.able)
        held = await self._tools.database(
            claim,
            self._tools.worker,
            classes=self._classes,
            evaluators=able,
            warm=session.engine_key if session else "",
            company=bool(session and session.jobs),
            isolation=self._isolation,
        )
        if held is None:
            await self._cool_down()
            return False
        if session is not None and session.engine_key != held.engine_key:
            await session.close()
            session = None
        if session is None:
            session = self._session = Session(held, tools=self._tools)
        session.take(held, claimed=claimed, wake=self._wake)
        await self._show()
        return True

    async def _usable_session(self) -> Session | None:
        """Return the session unless its runtime is gone and its jobs have ended."""
        session = self._session
        if session is not None and not session.usable and not session.jobs:
            await session.close()
            session = self._session = None
        return session

    def _has_room(self, session: Session) -> bool:
        full = session.jobs >= self._tools.numbers.shards_at_once
        return session.usable and not full and not session.solitary

    async def _cool_down(self) -> None:
        """Stop a runtime that has been idle for long."""
        session = self._session
        await self._show()
        if session is None or session.jobs:
            return
        if time.monotonic() - session.idle_since >= self._tools.numbers.warm_seconds:
            await session.close()
            self._session = None

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(self._tools.numbers.poll_seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _end(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.drain()

    async def _show(self) -> None:
        """Say on the worker's row what it is doing, when that has changed."""
        session = self._session
        busy = "busy" if session and session.jobs else "idle"
        state = (busy, session.engine_key if session else "")
        if state != self._state:
            self._state = state
            await self._tools.database(_note, self._tools.worker, *state)


def _note(worker: str, state: str, engine_key: str) -> None:
    Worker.objects.filter(pk=worker).update(state=state, engine_key=engine_key)
