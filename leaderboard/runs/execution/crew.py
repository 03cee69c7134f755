"""The slots of one worker process, and what its row says of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from leaderboard.runs.execution.claimer import Claimer
from leaderboard.runs.execution.database import DatabaseThread
from leaderboard.runs.execution.tools import Tools
from leaderboard.runs.hardware import Slot
from leaderboard.runs.models import Worker

LOOK_SECONDS = 1.0
"""How often the row is brought up to date, if anything has changed."""


class Crew:
    """One claimer per slot, on one event loop.

    Args:
        slots: What the process serves.
        tools: Makes what a slot's jobs share; every slot has a connection of its own.
        isolation: How runtimes are confined.
    """

    def __init__(
        self, slots: Sequence[Slot], *, tools: Callable[[], Tools], isolation: str
    ) -> None:
        self._tools = [tools() for _ in slots]
        self._claimers = [
            Claimer(own, slot=slot, isolation=isolation, suspects=self._others_suspect)
            for slot, own in zip(slots, self._tools, strict=True)
        ]
        self._draining = False
        self._shown: dict[str, object] = {}

    def nudge(self) -> None:
        """Look for work now; call it on the event loop."""
        for claimer in self._claimers:
            claimer.nudge()

    def drain(self) -> None:
        """Take no more work, let go of what is in hand, and end; call it on the event loop."""
        self._draining = True
        for claimer in self._claimers:
            claimer.drain()

    async def run(self, *, until_idle: bool = False) -> None:
        """Work until drained, or until every slot has found nothing more to do."""
        showing = asyncio.create_task(self._show_on(self._tools[0].database))
        try:
            async with asyncio.TaskGroup() as group:  # one that fails takes the process with it
                for claimer in self._claimers:
                    group.create_task(claimer.run(until_idle=until_idle))
        finally:
            showing.cancel()
            await asyncio.wait([showing])
            for own in self._tools:
                await own.database.close()
                await own.store.close()

    def _others_suspect(self, asking: Claimer) -> bool:
        return any(other.solitary for other in self._claimers if other is not asking)

    async def _show_on(self, database: DatabaseThread) -> None:
        """Say on the worker's row what the slots are doing, when that has changed."""
        while True:
            now = self._row()
            if now != self._shown:
                await database(_note, self._tools[0].worker, now)
                self._shown = now
            await asyncio.sleep(LOOK_SECONDS)

    def _row(self) -> dict[str, object]:
        doing = [claimer.doing for claimer in self._claimers]
        states = {slot.state for slot in doing}
        state = next((s for s in ("running", "loading", "blocked") if s in states), "idle")
        holds = dict.fromkeys(slot.holds for slot in doing if slot.holds)
        return {
            "state": "draining" if self._draining else state,
            "engine_key": next((slot.engine_key for slot in doing if slot.engine_key), ""),
            "holds": ", ".join(holds)[:200],
            "problem": "; ".join(dict.fromkeys(slot.problem for slot in doing if slot.problem)),
            "shards": sum(slot.shards for slot in doing),
        }


def _note(worker: str, row: dict[str, object]) -> None:
    Worker.objects.filter(pk=worker).update(**row)
