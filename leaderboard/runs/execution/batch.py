"""Finished samples on their way into the database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from evaluators.model import SampleResult
from leaderboard.runs.execution.database import DatabaseThread
from leaderboard.runs.services import Claim, commit_batch
from leaderboard.runs.services.rows import Prepared, prepare
from leaderboard.runs.tuning import Tuning


class Batch:
    """Collects one shard's results and commits them by number or by age, whichever comes first."""

    def __init__(self, held: Claim, database: DatabaseThread, *, numbers: Tuning) -> None:
        self.positions: Mapping[str, int] = {}
        """Place of each sample in its task."""
        self._held = held
        self._database = database
        self._numbers = numbers
        self._waiting: list[Prepared] = []
        self._oldest = 0.0
        self._one_at_a_time = asyncio.Lock()

    async def add(self, result: SampleResult) -> None:
        """Take a finished sample.

        Raises:
            Fenced: The shard is no longer ours.
        """
        if not self._waiting:
            self._oldest = time.monotonic()
        self._waiting.append(prepare(result, position=self.positions[result.sample.id]))
        if len(self._waiting) >= self._numbers.batch_samples:
            await self.flush()

    async def flush(self) -> None:
        """Commit what has come together.

        Raises:
            Fenced: The shard is no longer ours.
        """
        async with self._one_at_a_time:
            batch = list(self._waiting)
            if batch:
                await self._database(commit_batch, self._held, batch)
                del self._waiting[: len(batch)]
                self._oldest = time.monotonic()

    async def flush_by_age(self) -> None:
        """Commit what has waited long enough, until cancelled.

        Raises:
            Fenced: The shard is no longer ours.
        """
        longest = self._numbers.batch_seconds
        while True:
            age = time.monotonic() - self._oldest if self._waiting else 0.0
            if age >= longest:
                await self.flush()
            else:
                await asyncio.sleep(longest - age)
