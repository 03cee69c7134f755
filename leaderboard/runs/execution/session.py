"""The runtimes that a slot holds, with the shards that are worked on with them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping

from evaluators.errors import BadModel
from evaluators.model import ModelRole, SampleResult
from leaderboard.runs.errors import Failure
from leaderboard.runs.execution.heart import News
from leaderboard.runs.execution.host import Host
from leaderboard.runs.execution.job import Job
from leaderboard.runs.execution.tools import Breakdown, Opened, Stop, Tools
from leaderboard.runs.hardware import ENDPOINT, Slot, count_of
from leaderboard.runs.services import Claim, Player

Key = tuple[str, str]
"""As `Player.runtime_key` gives it."""


class Session:
    """Starts a runtime at once, lends it to jobs, and ends with them.

    Other models that shards name for further roles stand beside it for as long as a shard needs
    them. A breakdown ends the jobs that used the runtime and no other; the claimer then starts a
    new session.
    """

    def __init__(self, held: Claim, *, tools: Tools, slot: Slot) -> None:
        self.engine_key = held.engine_key
        self.idle_since = time.monotonic()
        self._tools = tools
        self._slot = slot
        self._jobs: dict[int, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sides: dict[Key, Host] = {}
        self._side_left = asyncio.Event()
        self._wake = asyncio.Event()
        gpus = self._place(held.actor_gpus, taken=())
        self._main = Host(held.actor, tools=tools, gpus=gpus, on_break=self._end_users)

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
        return self._main.usable

    def serves(self, held: Claim) -> bool:
        """Tell whether a shard's model is the one that is held, opened with the key in force."""
        return self._main.player.runtime_key == held.actor.runtime_key

    @property
    def loaded(self) -> bool:
        """The model answers."""
        return self._main.loaded

    @property
    def holds(self) -> str:
        """The names of the models that are held, for people."""
        return " + ".join(host.player.label for host in (self._main, *self._sides.values()))

    @property
    def turn(self) -> bool:
        """The runtime was loaded a short time ago, so that its own shards go first."""
        opened = self._main.opened_at
        return opened is None or time.monotonic() - opened < self._tools.numbers.turn_seconds

    @property
    def room(self) -> bool:
        """Another shard would help: those aboard do not keep the runtime full.

        What a full runtime leaves is for other workers; the tail of one shard fills with the head
        of the next.
        """
        if not self.usable or self.solitary or self.jobs >= self._tools.numbers.shards_at_once:
            return False
        return sum(min(job.left, self.lanes) for job in self._jobs.values()) < self.lanes

    @property
    def lanes(self) -> int:
        """Samples in flight that keep the runtime full: while one batch runs, the next waits."""
        return max(self._tools.numbers.samples_in_flight, 2 * self._main.batch_size)

    def take(self, held: Claim, *, claimed: float, wake: asyncio.Event) -> None:
        """Begin to work on a shard.

        Args:
            held: The claim.
            claimed: Monotonic time just before the claim.
            wake: Set when the shard has been let go, or leaves room for another.
        """
        self._wake = wake
        job = Job(held, self, tools=self._tools)
        self._jobs[held.shard] = job
        self._main.join(held.shard)
        loop = asyncio.get_running_loop()

        def tell(news: News) -> None:
            loop.call_soon_threadsafe(job.stop, news)

        self._tools.heart.hold(held.shard, fence=held.fence, claimed=claimed, tell=tell)
        task = asyncio.create_task(self._run(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def models(self, held: Claim) -> Mapping[ModelRole, Opened]:
        """Wait for the runtimes of all roles.

        Raises:
            BadModel: A model cannot be served, or there is no room for two.
            RuntimeUnavailable: One died while loading.
        """
        sides = await self._sides_for(held)
        found: dict[ModelRole, Opened] = {"actor": await self._main.opened(held)}
        for role, host in sides.items():
            found[role] = await host.opened(held)
        return found

    async def blame(self, held: Claim, failure: Failure) -> Breakdown:
        """Give up the runtime that failed the shard; the first reason counts."""
        used = self._used_by(held.shard)
        broken = next((host for host in used if not host.usable), None)
        if broken is None and len(used) > 1:
            mute = [host for host in used if not await host.answers()]
            broken = mute[0] if mute else None
        return (broken or self._main).break_down(failure)

    def progressed(self, result: SampleResult) -> None:
        """Take note that a sample was finished."""
        for host in (self._main, *self._sides.values()):
            host.progressed(result.seconds)
        if self.room:
            self._wake.set()

    def give_up(self, failure: Failure) -> None:
        """Let the jobs aboard end and be taken up again with a runtime opened anew."""
        self._main.break_down(failure)

    async def drain(self) -> None:
        """Have every job store what it has and let go."""
        for job in self._jobs.values():
            job.stop("drained")
        await self.close()

    async def close(self) -> None:
        """Stop the runtimes once the last job has ended."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        for host in (*self._sides.values(), self._main):
            await host.close()
        self._sides.clear()

    async def _run(self, job: Job) -> None:
        shard = job.held.shard
        try:
            await job.run()
        finally:
            self._tools.heart.let_go(shard)
            del self._jobs[shard]
            await self._leave(shard)
            self.idle_since = time.monotonic()
            self._wake.set()

    async def _leave(self, shard: int) -> None:
        """Take a shard off its runtimes; one beside the main one ends with its last shard."""
        self._main.users.discard(shard)
        for key, host in list(self._sides.items()):
            host.users.discard(shard)
            if not host.users:
                del self._sides[key]
                await host.close()
                self._side_left.set()

    async def _sides_for(self, held: Claim) -> dict[ModelRole, Host]:
        """Return the runtimes of other models, started beside the main one when all have room.

        All at once: two shards that each held one and waited for another would wait for ever.

        Raises:
            BadModel: There never is room.
        """
        players = {player.runtime_key: player for player in held.others.values()}
        if not self._fits(players.values()):
            names = " and ".join(player.label for player in players.values())
            raise BadModel(model=names, reason=self._no_room(players.values()))
        while not self._ready_for(players):
            self._side_left.clear()
            await self._side_left.wait()
        for key, player in players.items():
            self._host(key, player).join(held.shard)
        return {role: self._sides[player.runtime_key] for role, player in held.others.items()}

    def _ready_for(self, players: Mapping[Key, Player]) -> bool:
        """Tell whether all of these serve already or have room beside those that do."""
        if not all(self._sides[key].usable for key in players if key in self._sides):
            return False
        there = {key: host.player for key, host in self._sides.items()}
        return self._fits({**there, **players}.values())

    def _host(self, key: Key, player: Player) -> Host:
        """Return the runtime of another model, started if need be."""
        if key not in self._sides:
            hosts = (self._main, *self._sides.values())
            taken = tuple(gpu for host in hosts for gpu in host.gpus or ())
            gpus = self._place(count_of(player.hardware), taken=taken)
            self._sides[key] = Host(player, tools=self._tools, gpus=gpus, on_break=self._end_users)
        return self._sides[key]

    def _fits(self, others: Collection[Player]) -> bool:
        """Tell whether these have room beside the main one."""
        players = [self._main.player, *others]
        if self._slot.gpus:
            return sum(count_of(player.hardware) for player in players) <= len(self._slot.gpus)
        local = sum(player.hardware != ENDPOINT for player in players)
        return local <= self._tools.numbers.local_runtimes or not self._weighty(others)

    def _weighty(self, others: Collection[Player]) -> bool:
        """Tell whether one of them needs memory of this machine."""
        return any(player.hardware != ENDPOINT for player in others)

    def _no_room(self, others: Collection[Player]) -> str:
        if self._slot.gpus:
            needed = sum(count_of(player.hardware) for player in (self._main.player, *others))
            return (
                f"beside {self._main.player.label} it would take {needed} GPUs, and a slot of this "
                f"worker has {len(self._slot.gpus)}"
            )
        most = self._tools.numbers.local_runtimes
        return (
            f"beside {self._main.player.label} there is no room for it: a slot of this worker "
            f"holds {most} model{'s' if most > 1 else ''} with weights (REDRAFT_LOCAL_RUNTIMES)"
        )

    def _place(self, count: int, *, taken: tuple[str, ...]) -> tuple[str, ...] | None:
        """Return the slot's devices that a runtime may see; None leaves it to the environment."""
        if not self._slot.gpus:
            return None
        free = [gpu for gpu in self._slot.gpus if gpu not in taken]
        return tuple(free[:count])

    def _used_by(self, shard: int) -> list[Host]:
        hosts = (self._main, *self._sides.values())
        return [host for host in hosts if shard in host.users]

    def _end_users(self, host: Host) -> None:
        reason: Stop = "broken"
        for shard in host.users:
            if (job := self._jobs.get(shard)) is not None:
                job.stop(reason)
