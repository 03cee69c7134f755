"""The heartbeat: a thread with its own connection that renews leases and does nothing else."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from django.db import connections

from leaderboard.runs.execution.database import DATABASE_AWAY
from leaderboard.runs.services import beat
from leaderboard.runs.tuning import tuning

log = logging.getLogger(__name__)

MARGIN = 0.25
"""Share of the lease that must be left; with less the work stops before another may begin it."""

News = Literal["fenced", "cancelled"]
"""What a heartbeat may learn of a shard."""


@dataclass(slots=True)
class _Held:
    fence: int
    safe_until: float
    """Monotonic time until which the lease surely holds."""
    tell: Callable[[News], None]
    """Called from the heartbeat's thread."""


class Heart:
    """Beats for all shards of a worker until it is stopped."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._held: dict[int, _Held] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """Beat no more."""
        self._stopping.set()
        self._thread.join()

    def hold(self, shard: int, *, fence: int, claimed: float, tell: Callable[[News], None]) -> None:
        """Renew the shard's lease from now on.

        Args:
            claimed: Monotonic time just before the claim.
            tell: Gets the news, in the heartbeat's thread, at most once.
        """
        with self._lock:
            safe = claimed + tuning().lease_seconds
            self._held[shard] = _Held(fence, safe, tell)

    def let_go(self, shard: int) -> None:
        """Renew the shard's lease no more."""
        with self._lock:
            self._held.pop(shard, None)

    def _beat_on(self) -> None:
        while not self._stopping.wait(tuning().heartbeat_seconds):
            self._beat_once()
        connections.close_all()

    def _beat_once(self) -> None:
        with self._lock:
            fences = {shard: held.fence for shard, held in self._held.items()}
        started = time.monotonic()
        try:
            found = beat(self._worker, fences)
        except DATABASE_AWAY as error:
            connections.close_all()
            log.warning("heartbeat of %s missed: %s", self._worker, str(error).strip())
        else:
            self._take_in(found, fences, started)
        self._give_up_expiring()

    def _take_in(
        self, found: Mapping[int, bool], fences: Mapping[int, int], started: float
    ) -> None:
        for shard, fence in fences.items():
            if shard not in found:
                self._tell(shard, "fenced", fence=fence)
            elif found[shard]:
                self._tell(shard, "cancelled", fence=fence, keep=True)
            self._renewed(shard, fence, started)

    def _renewed(self, shard: int, fence: int, started: float) -> None:
        with self._lock:
            held = self._held.get(shard)
            if held is not None and held.fence == fence:
                held.safe_until = started + tuning().lease_seconds

    def _give_up_expiring(self) -> None:
        """Stop work whose lease could not be renewed, while it is still surely ours."""
        least = time.monotonic() + MARGIN * tuning().lease_seconds
        with self._lock:
            late = [(s, held.fence) for s, held in self._held.items() if held.safe_until < least]
        for shard, fence in late:
            self._tell(shard, "fenced", fence=fence)

    def _tell(self, shard: int, news: News, *, fence: int, keep: bool = False) -> None:
        with self._lock:
            held = self._held.get(shard)
            if held is None or held.fence != fence:
                return
            if not keep:
                del self._held[shard]
        held.tell(news)
