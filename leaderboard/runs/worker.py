"""A worker process: its slots on the main thread, heartbeat, sweeper and Celery beside them."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
import uuid
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db import connections

from evaluators.registry import installed
from evaluators.runtimes.isolation import HIDDEN, confine
from leaderboard.runs import services
from leaderboard.runs.devices import leased
from leaderboard.runs.execution.crew import Crew
from leaderboard.runs.execution.database import DATABASE_AWAY, DatabaseThread
from leaderboard.runs.execution.heart import Heart
from leaderboard.runs.execution.shelf import TaskShelf
from leaderboard.runs.execution.tools import Tools
from leaderboard.runs.hardware import CPU, Slot, queue_of
from leaderboard.runs.hints import HintReceiver
from leaderboard.runs.models import Worker
from leaderboard.runs.nudges import listen
from leaderboard.runs.services.clock import ClockTimestamp
from leaderboard.runs.signals import run_finished
from leaderboard.runs.tuning import tuning

log = logging.getLogger(__name__)

STUCK_CHECKS = 12
STUCK_SECONDS = 5.0
"""An event loop that does not turn for 12 checks of 5 s is given up: alive but doing nothing."""

EX_STUCK = 70
"""Exit status of a worker that gave itself up; whoever supervises starts another."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How a worker process runs."""

    slots: tuple[Slot, ...] = (Slot((CPU,)),)
    """What it serves, each with one runtime at a time."""
    celery: bool = True
    """Listen to the broker; without it the claimer's own polling is all there is."""
    until_idle: bool = False
    """End when there is nothing left to do."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Hardware classes that it serves."""
        return tuple(dict.fromkeys(name for slot in self.slots for name in slot.classes))

    @property
    def gpus(self) -> tuple[str, ...]:
        """Devices that it owns."""
        return tuple(gpu for slot in self.slots for gpu in slot.gpus)


def worker_name() -> str:
    """Return an identity that is new at every start: two processes never share one."""
    return f"{socket.gethostname()[:80]}-{uuid.uuid4().hex[:12]}"


def run_worker(options: WorkerOptions) -> int:
    """Work until told to stop; return the exit status.

    Raises:
        DevicesTaken: Another process owns one of the GPUs.
    """
    # Runtimes run what strangers submit: the database and its passwords are not for their eyes.
    os.environ.setdefault(HIDDEN, str(Path(settings.REDRAFT_VAR) / "postgres"))
    with leased(options.gpus, Path(settings.REDRAFT_VAR) / "devices"):
        return _run(worker_name(), options)


def _run(name: str, options: WorkerOptions) -> int:
    isolation = confine(["true"], network=False)[1]
    if isolation == "process_group":
        log.warning(
            "bubblewrap does not work here: runtimes run unconfined, for trusted models only"
        )
    _register(name, options, isolation)
    heart = Heart(name)
    sweeper = Sweeper()
    queues = tuple(dict.fromkeys(map(queue_of, options.classes)))
    receiver = HintReceiver(queues) if options.celery else None
    helpers = [helper for helper in (heart, sweeper, receiver) if helper is not None]
    for helper in helpers:
        helper.start()
    log.info("worker %s serves %s, isolation %s", name, ", ".join(options.classes), isolation)
    try:
        with asyncio.Runner() as runner:
            runner.run(_work(name, heart, options=options, isolation=isolation))
    finally:
        for helper in reversed(helpers):
            helper.stop()
        _sign_off(name)
        connections.close_all()
    log.info("worker %s has ended", name)
    return 0


async def _work(name: str, heart: Heart, *, options: WorkerOptions, isolation: str) -> None:
    """Run the crew until it ends by itself or a signal ends it."""
    loop = asyncio.get_running_loop()
    shelf = TaskShelf()

    def tools() -> Tools:
        return Tools(
            worker=name,
            database=DatabaseThread("leases"),
            store=DatabaseThread("generations"),
            heart=heart,
            shelf=shelf,
            numbers=tuning(),
        )

    crew = Crew(options.slots, tools=tools, isolation=isolation)
    patience = threading.Timer(tuning().drain_seconds, os._exit, args=[1])
    patience.daemon = True
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, _drain, crew, patience)
    forget = listen(partial(_nudge, loop, crew))
    pulse = Pulse(loop)
    try:
        await crew.run(until_idle=options.until_idle)
    finally:
        forget()
        pulse.stop()
        patience.cancel()
        await shelf.close()


def _nudge(loop: asyncio.AbstractEventLoop, crew: Crew) -> None:
    """Wake the claimers from another thread."""
    loop.call_soon_threadsafe(crew.nudge)


def _drain(crew: Crew, patience: threading.Timer) -> None:
    """Let go of everything, and see to it that this does not take for ever."""
    if not patience.is_alive():
        log.info("draining")
        crew.drain()
        patience.start()


class Pulse:
    """Ends the process when its event loop turns no more; leases and supervisor do the rest."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._turns = 0
        self._stopping = threading.Event()
        threading.Thread(target=self._watch, name="pulse", daemon=True).start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopping.set()

    def _turn(self) -> None:
        self._turns += 1

    def _watch(self) -> None:
        seen, missed = -1, 0
        while not self._stopping.wait(STUCK_SECONDS):
            # Checks are counted, not seconds: a stopped process that goes on is not stuck.
            missed = missed + 1 if self._turns == seen else 0
            seen = self._turns
            if missed >= STUCK_CHECKS:
                log.critical("the event loop has been stuck for %s checks; giving up", missed)
                os._exit(EX_STUCK)
            self._loop.call_soon_threadsafe(self._turn)


class Sweeper:
    """Goes round every few seconds, and at once when a run has finished, in a thread of its own."""

    def __init__(self) -> None:
        self._stopping = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._sweep_on, name="sweeper", daemon=True)

    def start(self) -> None:
        """Begin."""
        run_finished.connect(self._on_finished)
        self._thread.start()

    def stop(self) -> None:
        """End after one more round, so that nothing that has finished waits for somebody else."""
        run_finished.disconnect(self._on_finished)
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout=tuning().drain_seconds)

    def _on_finished(self, **unused: object) -> None:
        self._wake.set()

    def _sweep_on(self) -> None:
        while not self._stopping:
            self._wake.wait(tuning().sweep_seconds)
            self._wake.clear()
            try:
                services.sweep()
            except DATABASE_AWAY as error:
                log.warning("not swept: %s", str(error).strip())
                connections.close_all()
            except Exception:
                log.exception("sweeping failed")
        connections.close_all()


def _register(name: str, options: WorkerOptions, isolation: str) -> None:
    Worker.objects.create(
        id=name,
        host=socket.gethostname()[:200],
        pid=os.getpid(),
        hardware=list(options.classes),
        devices=list(options.gpus),
        plugins={entry.name: f"{entry.distribution} {entry.version}" for entry in installed()},
        isolation=isolation,
        started_at=ClockTimestamp(),
        last_seen=ClockTimestamp(),
    )


def _sign_off(name: str) -> None:
    try:
        Worker.objects.filter(pk=name).update(state="stopped", engine_key="", holds="", shards=0)
    except DATABASE_AWAY:
        log.warning("the database is away; the sweeper will find that %s has ended", name)
