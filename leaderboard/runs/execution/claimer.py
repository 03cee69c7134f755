"""The claimer: takes shards of one engine at a time and keeps its runtime warm between them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from leaderboard.runs.devices import Watch
from leaderboard.runs.errors import Failure
from leaderboard.runs.execution.packs import Packs
from leaderboard.runs.execution.plugins import Plugins
from leaderboard.runs.execution.session import Session
from leaderboard.runs.execution.tools import Tools
from leaderboard.runs.hardware import Slot
from leaderboard.runs.services import claim, make_controls

KEY_REPLACED = Failure("run:app:key-replaced", "")
"""Why work with a key that is no longer in force is given up and taken up again."""


@dataclass(frozen=True, slots=True)
class Doing:
    """What a slot is doing, for its worker's row."""

    state: str = "idle"
    """idle, loading, running or blocked."""
    engine_key: str = ""
    holds: str = ""
    shards: int = 0
    problem: str = ""
    """Why it takes no work, or leaves some to other workers."""


class Claimer:
    """One per slot; looks for work by itself, and sooner when nudged.

    Args:
        tools: What the slot's jobs share.
        slot: What it serves, and with which GPUs.
        isolation: How the worker confines its runtimes.
        suspects: Tells whether a shard in another slot of the process has to be alone.
    """

    def __init__(
        self,
        tools: Tools,
        *,
        slot: Slot,
        isolation: str,
        suspects: Callable[[Claimer], bool] = lambda claimer: False,
    ) -> None:
        self._tools = tools
        self._slot = slot
        self._isolation = isolation
        self._suspects = suspects
        self._plugins = Plugins()
        self._packs = Packs()
        self._devices = Watch(slot.gpus)
        self._problem = ""
        self._session: Session | None = None
        self._wake = asyncio.Event()
        self._draining = False

    @property
    def doing(self) -> Doing:
        """What the slot is doing now."""
        session = self._session
        left = "; ".join(self._packs.problems)
        if session is None:
            return Doing("blocked" if self._problem else "idle", problem=self._problem or left)
        state = "idle" if not session.jobs else "running" if session.loaded else "loading"
        return Doing(state, session.engine_key, session.holds, session.jobs, left)

    @property
    def solitary(self) -> bool:
        """A shard in hand has to be alone."""
        return self._session is not None and self._session.solitary

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
                if until_idle and not await self._more():
                    break
                await self._rest()
        finally:
            await self._end()

    async def _step(self) -> bool:
        """Take one shard if there is room and one to take; tell whether there may be more."""
        session = await self._usable_session()
        if session is not None and not session.room:
            return False
        if session is None and await self._blocked():
            return False
        claimed = time.monotonic()
        able = await self._tools.database(self._plugins.able)
        packs = await self._tools.database(self._packs.able)
        held = await self._tools.database(
            claim,
            self._tools.worker,
            hardware=self._slot.takes,
            evaluators=able,
            packs=packs,
            warm=session.engine_key if session else "",
            turn=bool(session and session.turn),
            company=bool(session and session.jobs),
            suspects=self._suspects(self),
            isolation=self._isolation,
        )
        if held is None:
            await self._cool_down()
            return False
        if session is not None and not session.serves(held):
            if session.jobs:  # of the same model, with a key that is no longer in force
                session.give_up(KEY_REPLACED)
            await session.close()
            session = self._session = None
        if session is None:
            session = self._session = Session(held, tools=self._tools, slot=self._slot)
        session.take(held, claimed=claimed, wake=self._wake)
        return True

    async def _more(self) -> bool:
        """Tell whether work is in hand or to be had; what has completed may ask for more."""
        if self._session is not None and self._session.jobs:
            return True
        await self._tools.database(make_controls)
        return await self._step()

    async def _usable_session(self) -> Session | None:
        """Return the session unless its runtime is gone and its jobs have ended."""
        session = self._session
        if session is not None and not session.usable and not session.jobs:
            await session.close()
            session = self._session = None
        return session

    async def _blocked(self) -> bool:
        """Tell whether something is on the slot's devices that is not ours."""
        if self._slot.gpus:
            self._problem = await asyncio.to_thread(self._devices.problem)
        return bool(self._problem)

    async def _cool_down(self) -> None:
        """Stop a runtime that has been idle for long."""
        session = self._session
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
