"""Listens to the broker in a thread of the worker: a broken broker breaks nothing else."""

from __future__ import annotations

import logging
import socket
import threading
import uuid
from collections.abc import Sequence
from typing import Any

from celery.worker import WorkController
from celery.worker import state as celery_state

from leaderboard.celery import CHORES, app, make_broker_folders

log = logging.getLogger(__name__)

SLOTS = 2
"""Messages handled at a time; they only nudge, or sweep for a second."""

AGAIN_SECONDS = 10.0


class HintReceiver:
    """A Celery worker with a pool of threads, inside our process."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._queues = [*classes, CHORES]
        self._stopping = threading.Event()
        self._controller: Any = None
        self._thread = threading.Thread(target=self._listen_on, name="celery", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        celery_state.should_stop = None
        self._thread.start()

    def stop(self) -> None:
        """Listen no more; messages in hand are finished if that is soon."""
        self._stopping.set()
        celery_state.should_stop = 0  # type: ignore[assignment] # the stubs know only None
        self._thread.join(timeout=5)

    def _listen_on(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except (Exception, SystemExit):
                log.exception("the Celery worker failed; polling goes on")
            self._stopping.wait(AGAIN_SECONDS)

    def _listen(self) -> None:
        make_broker_folders()
        app.finalize()
        self._controller = WorkController(
            app=app,
            hostname=f"redraft-{uuid.uuid4().hex[:8]}@{socket.gethostname()}",
            pool_cls="threads",
            concurrency=SLOTS,
            queues=self._queues,
            optimization="fair",
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        self._controller.start()
