"""Celery tasks: hints that a run is waiting, and chores. Losing or doubling one changes nothing."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable
from functools import partial

from celery import shared_task
from django.db import transaction

from leaderboard.celery import make_broker_folders
from leaderboard.runs import services
from leaderboard.runs.hardware import queue_of
from leaderboard.runs.models import Run
from leaderboard.runs.nudges import nudge

log = logging.getLogger(__name__)

MOST_UNSENT = 1000
"""Hints that wait for a slow broker; more are dropped, because workers look by themselves."""


@shared_task(name="runs.execute_run")
def execute_run(run_id: int, **unknown: object) -> None:
    """Have this process's claimer look for work now instead of at its next poll."""
    if unknown:
        log.warning("hint for run %s carries unknown %s", run_id, sorted(unknown))
    nudge()


@shared_task(name="runs.sweep", acks_late=True)
def sweep(**unknown: object) -> None:
    """Mend what dead processes left behind."""
    if unknown:
        log.warning("sweep carries unknown %s", sorted(unknown))
    services.sweep()


def hint(runs: Iterable[Run]) -> None:
    """Tell workers about runs once they are committed; never waits for the broker, never fails."""
    for run in runs:
        queues = {queue_of(name) for name in run.shards.values_list("hardware", flat=True)}
        for name in sorted(queues):
            transaction.on_commit(partial(_sender.put, run.pk, name), robust=True)


class HintSender:
    """Sends hints from a thread of its own: a broker that does not answer delays nobody.

    Args:
        send: Sends one hint, of a run's key to a queue; may fail or take long.
    """

    def __init__(self, send: Callable[[int, str], object]) -> None:
        self._send = send
        self._unsent: queue.Queue[tuple[int, str]] = queue.Queue(MOST_UNSENT)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def put(self, run_id: int, queue_name: str) -> None:
        """Send a hint soon."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._send_on, name="hints", daemon=True)
                self._thread.start()
        try:
            self._unsent.put_nowait((run_id, queue_name))
        except queue.Full:
            log.warning("the broker is too slow; the hint for run %s is dropped", run_id)

    def wait(self) -> None:
        """Wait until everything was sent or given up; for commands that are about to end."""
        self._unsent.join()

    def _send_on(self) -> None:
        while True:
            run_id, queue_name = self._unsent.get()
            try:
                self._send(run_id, queue_name)
            except Exception as error:  # noqa: BLE001 - each transport has its own errors
                log.warning("no hint for run %s: %s", run_id, error)
            finally:
                self._unsent.task_done()


def _publish(run_id: int, queue_name: str) -> None:
    make_broker_folders()
    execute_run.apply_async(args=(run_id,), queue=queue_name, retry=False)


_sender = HintSender(_publish)
wait_for_hints = _sender.wait

__all__ = ["HintSender", "execute_run", "hint", "sweep", "wait_for_hints"]
