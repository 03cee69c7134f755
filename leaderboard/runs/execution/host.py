"""One runtime held open: started at once, watched while it serves, closed when told."""

from __future__ import annotations

import asyncio
import logging
import statistics
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from evaluators.engine import SharedModel
from evaluators.errors import CallRefused, InputError, RedraftError, RuntimeUnavailable
from evaluators.model import ChatRequest, Sampling, user
from evaluators.runtimes import ModelSpec, RunningModel, open_runtime
from leaderboard.catalog.endpoints import egress_policy
from leaderboard.catalog.keys import secret_of
from leaderboard.runs.errors import Failure, failure_of
from leaderboard.runs.execution.store import DatabaseStore
from leaderboard.runs.execution.tools import Breakdown, Opened, Tools
from leaderboard.runs.hardware import ENDPOINT
from leaderboard.runs.services import Claim, Player

log = logging.getLogger(__name__)

MEDIAN_OF = 101
"""Samples that the usual time of a sample is taken from."""

STALL_FACTOR = 20
"""A runtime has stalled when nothing is finished for this many times the usual time."""

STALLED = "run:app:stalled"
DIED = "run:app:runtime-died"

CANARY = ChatRequest((user("Say yes."),), Sampling(max_tokens=1))
"""The smallest call there is: a runtime that answers it lets tokens flow."""


class Host:
    """Keeps one model's runtime for the shards that need it.

    Args:
        player: The model.
        tools: What the slot shares.
        gpus: Devices that the runtime may see; None leaves the choice to the environment.
        on_break: Called once, when the runtime is given up.
    """

    def __init__(
        self,
        player: Player,
        *,
        tools: Tools,
        gpus: tuple[str, ...] | None,
        on_break: Callable[[Host], None],
    ) -> None:
        self.player = player
        self.gpus = gpus
        self.breakdown: Breakdown | None = None
        self.users: set[int] = set()
        """Shards that need it."""
        self.opened_at: float | None = None
        """Monotonic time since which it serves."""
        self._tools = tools
        self._on_break = on_break
        self._closing = asyncio.Event()
        self._stores: dict[str, tuple[DatabaseStore, SharedModel]] = {}
        self._seconds: deque[float] = deque(maxlen=MEDIAN_OF)
        self._progress = time.monotonic()
        self._running: asyncio.Future[RunningModel] = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.create_task(self._keep())

    @property
    def usable(self) -> bool:
        """More shards may come aboard."""
        return self.breakdown is None and not self._keeper.done()

    @property
    def batch_size(self) -> int:
        """Rows that the runtime works on at a time, as far as is known yet."""
        if self._running.done() and not self._running.exception():
            return self._running.result().info.batch_size
        return int(self.player.spec["batch_size"])

    @property
    def loaded(self) -> bool:
        """It has served."""
        return self.opened_at is not None

    def join(self, shard: int) -> None:
        """Count a shard as one that needs the runtime."""
        if not self.users or not self.loaded:
            self._progress = time.monotonic()
        self.users.add(shard)

    async def opened(self, held: Claim) -> Opened:
        """Wait for the runtime.

        Raises:
            InputError: The model cannot be served.
            RuntimeUnavailable: It died while loading.
        """
        running = await asyncio.shield(self._running)
        # What an endpoint answers may change from day to day: it is shared within a submission.
        scope = "" if running.info.stable else f"submission:{held.submission}"
        if scope not in self._stores:
            self._stores[scope] = self._share(running, scope)
        return Opened(running, self._stores[scope][1])

    def progressed(self, seconds: float) -> None:
        """Take note that a sample was finished."""
        self._progress = time.monotonic()
        self._seconds.append(seconds)

    def break_down(self, failure: Failure, *, stalled: bool = False) -> Breakdown:
        """Give the runtime up; the first reason counts."""
        if self.breakdown is None:
            # A model that never answered is to blame for that itself, not the shards that waited.
            company = self.loaded and len(self.users) > 1
            ours = self.player.hardware != ENDPOINT
            kind: Literal["died", "retry"] = "died" if ours and not stalled else "retry"
            self.breakdown = Breakdown(failure, company=company, kind=kind)
            log.warning("the runtime of %s is given up: %s", self.player.label, failure.detail)
            self._on_break(self)
        return self.breakdown

    async def answers(self) -> bool:
        """Tell whether a single token comes out of the runtime in time."""
        if not self._running.done() or self._running.exception():
            return False
        try:
            async with asyncio.timeout(self._tools.numbers.canary_seconds):
                await self._running.result().complete(CANARY)
        except CallRefused:
            return True
        except (InputError, RuntimeUnavailable, TimeoutError):
            return False
        return True

    async def close(self) -> None:
        """Stop the runtime; whoever used it has ended."""
        self._closing.set()
        if not self._running.done():
            self._keeper.cancel()  # still loading, and nobody waits for it any more
        await asyncio.wait([self._keeper])

    def _share(self, running: RunningModel, scope: str) -> tuple[DatabaseStore, SharedModel]:
        numbers = self._tools.numbers
        store = DatabaseStore(self._tools.store, fingerprint=running.fingerprint, scope=scope)
        in_flight = max(numbers.calls_in_flight, 2 * running.info.batch_size)
        return store, SharedModel(running, store=store, in_flight=in_flight)

    async def _keep(self) -> None:
        """Hold the runtime open; opening and closing belong to one coroutine."""
        try:
            await self._serve()
        except (InputError, RuntimeUnavailable) as error:
            self._refuse(error)
        except Exception as error:
            log.exception("the runtime of %s failed", self.player.label)
            self._refuse(RuntimeUnavailable(reason=f"{type(error).__name__}: {error}"))
        finally:
            self._refuse(RuntimeUnavailable(reason="the runtime was stopped"))

    async def _serve(self) -> None:
        async with open_runtime(ModelSpec(**self.player.spec), **await self._options()) as running:
            self._progress = self.opened_at = time.monotonic()
            self._running.set_result(running)
            await self._watch(running)
            await self._closing.wait()
            for store, _ in self._stores.values():
                await store.close()

    async def _options(self) -> dict[str, Any]:
        """Return how to open the runtime; a key is read here, at the last moment, and not kept."""
        options: dict[str, Any] = {
            "start_timeout": self._tools.numbers.load_seconds,
            "policy": egress_policy(),
        }
        if self.player.hardware == ENDPOINT:
            options["policy"] = egress_policy()
        if self.player.keyed:
            options["secret"] = await self._tools.database(secret_of, self.player.model)
        if self.gpus is not None:
            options["environment"] = {"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)}
        return options

    async def _watch(self, running: RunningModel) -> None:
        """Return when the host closes, the runtime dies, or nothing comes out of it any more."""
        closing = asyncio.create_task(self._closing.wait())
        dead = asyncio.create_task(running.wait_dead())
        stalled = asyncio.create_task(self._stalled())
        watched: set[asyncio.Task[Any]] = {closing, dead, stalled}
        try:
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            if dead.done() and not closing.done():
                self.break_down(Failure(DIED, f"the runtime died (status {dead.result()})"))
            elif stalled.done():
                self.break_down(Failure(STALLED, stalled.result()), stalled=True)
                await running.kill()  # its calls would never end by themselves
        finally:
            await _end_all(watched)

    async def _stalled(self) -> str:
        """Return, in words, that nothing has been finished for too long.

        Halfway there one token is asked for: a runtime that says it is well and answers nothing
        need not be waited for any longer.
        """
        asked = 0.0
        while True:
            usual = statistics.median(self._seconds) if self._seconds else 0.0
            longest = max(self._tools.numbers.stall_seconds, STALL_FACTOR * usual)
            silent = time.monotonic() - self._progress if self.users else 0.0
            if silent >= longest:
                return f"no sample was finished for {silent:.0f} s"
            if silent >= longest / 2 and asked < self._progress:
                asked = time.monotonic()
                if not await self._answers_within(longest - silent) and self._progress < asked:
                    waited = time.monotonic() - asked
                    return f"not a single token came out of the runtime within {waited:.0f} s"
            due = longest if asked > self._progress else longest / 2
            await asyncio.sleep(max(0.05, due - (time.monotonic() - self._progress)))

    async def _answers_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self.answers()
        except TimeoutError:
            return False

    def _refuse(self, error: RedraftError) -> None:
        """Tell whoever waits for the runtime that it does not come."""
        if self._running.done():
            return
        if self.users and not isinstance(error, InputError):
            self.break_down(failure_of(error))
        self._running.set_exception(error)
        self._running.exception()  # marks it as seen: perhaps nobody waits any more


async def _end_all(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
