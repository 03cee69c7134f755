"""One runtime with the shards that are worked on with it."""

from __future__ import annotations

import asyncio
import logging
import statistics
import time
from collections import deque

from evaluators.engine import SharedModel
from evaluators.errors import InputError, RedraftError, RuntimeUnavailable
from evaluators.model import SampleResult
from evaluators.runtimes import ModelSpec, RunningModel, open_runtime
from leaderboard.runs.errors import Failure, failure_of
from leaderboard.runs.execution.heart import News
from leaderboard.runs.execution.job import Breakdown, Job, Opened, Stop, Tools
from leaderboard.runs.execution.store import DatabaseStore
from leaderboard.runs.services import Claim

log = logging.getLogger(__name__)

MEDIAN_OF = 101
"""Samples that the usual time of a sample is taken from."""

STALL_FACTOR = 20
"""A runtime has stalled when nothing is finished for this many times the usual time."""

STALLED = "run:app:stalled"


class Session:
    """Starts a runtime at once, lends it to jobs, and ends with them.

    A breakdown ends every job aboard and no other; the claimer then starts a new session.
    """

    def __init__(self, held: Claim, *, tools: Tools) -> None:
        self.engine_key = held.engine_key
        self.breakdown: Breakdown | None = None
        self.idle_since = time.monotonic()
        self._label = held.run_id
        self._spec = ModelSpec(**held.model)
        self._tools = tools
        self._jobs: dict[int, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()
        self._seconds: deque[float] = deque(maxlen=MEDIAN_OF)
        self._progress = time.monotonic()
        self._opened: asyncio.Future[Opened] = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.create_task(self._keep())

    @property
    def jobs(self) -> int:
        """How many shards are aboard."""
        return len(self._jobs)

    @property
    def solitary(self) -> bool:
        """Somebody aboard may have no company."""
        return any(job.alone for job in self._jobs.values())

    @property
    def usable(self) -> bool:
        """More shards may come aboard."""
        return self.breakdown is None and not self._keeper.done()

    def take(self, held: Claim, *, claimed: float, wake: asyncio.Event) -> None:
        """Begin to work on a shard.

        Args:
            held: The claim.
            claimed: Monotonic time just before the claim.
            wake: Set when the shard has been let go.
        """
        job = Job(held, self, tools=self._tools)
        self._jobs[held.shard] = job
        if not self._opened.done() or len(self._jobs) == 1:
            self._progress = time.monotonic()
        loop = asyncio.get_running_loop()

        def tell(news: News) -> None:
            loop.call_soon_threadsafe(job.stop, news)

        self._tools.heart.hold(held.shard, fence=held.fence, claimed=claimed, tell=tell)
        task = asyncio.create_task(self._run(job, wake))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def opened(self) -> Opened:
        """Wait for the runtime.

        Raises:
            InputError: The model cannot be served.
            RuntimeUnavailable: It died while loading.
        """
        return await asyncio.shield(self._opened)

    def break_down(self, failure: Failure) -> Breakdown:
        """Give the runtime up and end every job aboard; the first reason counts."""
        if self.breakdown is None:
            # A model that never answered is to blame for that itself, not the shards that waited.
            loaded = self._opened.done() and self._opened.exception() is None
            company = loaded and len(self._jobs) > 1
            self.breakdown = Breakdown(failure, company=company, stalled=failure.id == STALLED)
            log.warning("the runtime of %s is given up: %s", self._label, failure.detail)
            self._stop_jobs("broken")
        return self.breakdown

    def progressed(self, result: SampleResult) -> None:
        """Take note that a sample was finished."""
        self._progress = time.monotonic()
        self._seconds.append(result.seconds)

    async def drain(self) -> None:
        """Have every job store what it has and let go."""
        self._stop_jobs("drained")
        await self.close()

    async def close(self) -> None:
        """Stop the runtime once its last job has ended."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        self._closing.set()
        if not self._opened.done():
            self._keeper.cancel()  # still loading, and nobody waits for it any more
        await asyncio.wait([self._keeper])

    def _stop_jobs(self, reason: Stop) -> None:
        for job in self._jobs.values():
            job.stop(reason)

    async def _run(self, job: Job, wake: asyncio.Event) -> None:
        shard = job.held.shard
        try:
            await job.run()
        finally:
            self._tools.heart.let_go(shard)
            del self._jobs[shard]
            self.idle_since = time.monotonic()
            wake.set()

    async def _keep(self) -> None:
        """Hold the runtime open; opening and closing belong to one coroutine."""
        try:
            await self._serve()
        except (InputError, RuntimeUnavailable) as error:
            self._refuse(error)
        except Exception as error:
            log.exception("the runtime of %s failed", self._label)
            self._refuse(RuntimeUnavailable(reason=f"{type(error).__name__}: {error}"))
        finally:
            self._refuse(RuntimeUnavailable(reason="the runtime was stopped"))

    async def _serve(self) -> None:
        numbers = self._tools.numbers
        async with open_runtime(self._spec, start_timeout=numbers.load_seconds) as running:
            store = DatabaseStore(self._tools.store, fingerprint=running.fingerprint)
            in_flight = max(numbers.calls_in_flight, 2 * running.info.batch_size)
            shared = SharedModel(running, store=store, in_flight=in_flight)
            self._progress = time.monotonic()
            self._opened.set_result(Opened(running, shared))
            await self._watch(running)
            while self._tasks:
                await asyncio.wait(set(self._tasks))
            await store.close()

    async def _watch(self, running: RunningModel) -> None:
        """Return when the session closes, the runtime dies, or nothing comes out of it any more."""
        closing = asyncio.create_task(self._closing.wait())
        dead = asyncio.create_task(running.wait_dead())
        stalled = asyncio.create_task(self._stalled())
        watched: set[asyncio.Task[object]] = {closing, dead, stalled}
        try:
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            if dead.done() and not closing.done():
                how = f"the runtime died (status {dead.result()})"
                self.break_down(Failure("run:app:runtime-died", how))
            elif stalled.done():
                self.break_down(Failure(STALLED, stalled.result()))
        finally:
            for task in watched:
                task.cancel()
            await asyncio.wait(watched)

    async def _stalled(self) -> str:
        """Return, in words, that nothing has been finished for too long."""
        while True:
            usual = statistics.median(self._seconds) if self._seconds else 0.0
            longest = max(self._tools.numbers.stall_seconds, STALL_FACTOR * usual)
            silent = time.monotonic() - self._progress if self._jobs else 0.0
            if silent >= longest:
                return f"no sample was finished for {silent:.0f} s"
            await asyncio.sleep(max(0.1, (longest - silent) / 2))

    def _refuse(self, error: RedraftError) -> None:
        """Tell whoever waits for the runtime that it does not come."""
        if self._opened.done():
            return
        if self._jobs and not isinstance(error, InputError):
            self.break_down(failure_of(error))
        self._opened.set_exception(error)
        self._opened.exception()  # marks it as seen: perhaps nobody waits any more
