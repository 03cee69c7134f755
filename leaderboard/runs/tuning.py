"""How runs are worked on: every number with its unit, from settings named `REDRAFT_<NAME>`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import timedelta

from django.conf import settings


@dataclass(frozen=True, slots=True)
class Tuning:
    """Times, sizes and limits of the work; a setting of the same name replaces a default."""

    lease_seconds: float = 60.0
    """How long a worker may stay silent before its shards go to another."""
    heartbeat_seconds: float = 10.0
    poll_seconds: float = 1.5
    sweep_seconds: float = 15.0
    batch_samples: int = 32
    """Finished samples are committed when this many have come together ..."""
    batch_seconds: float = 10.0
    """... and at the latest after this time."""
    max_unscored: float = 0.05
    """Share of samples that may stay unscored before the run fails."""
    slice_samples: int = 500
    """Longest shard: longer tasks are cut."""
    shards_at_once: int = 8
    """Shards that one runtime works on together."""
    samples_in_flight: int = 16
    """Samples of one shard that are worked on at once; twice the batch if that is more."""
    calls_in_flight: int = 64
    """Calls that all shards of a runtime have in flight; twice its batch if that is more."""
    warm_seconds: float = 600.0
    """How long an idle runtime is kept."""
    load_seconds: float = 3600.0
    """How long a model may take to load."""
    stall_seconds: float = 600.0
    """How long a runtime may go without finishing a sample."""
    backoff_seconds: float = 30.0
    """First wait before another attempt; doubles with every attempt without progress."""
    backoff_limit_seconds: float = 1800.0
    drain_seconds: float = 30.0
    """How long a worker that is told to stop may take."""
    max_charged: int = 20
    """Attempts a shard may cost; drained ones are given back."""
    fatal_deaths: int = 3
    """Deaths in a row, alone and without progress, after which a shard is quarantined."""
    aged_seconds: float = 600.0
    """How long a warm runtime's own shards go first."""

    @property
    def lease(self) -> timedelta:
        """The lease as the database takes it."""
        return timedelta(seconds=self.lease_seconds)


def tuning() -> Tuning:
    """Return the numbers in force."""
    names = {field.name: f"REDRAFT_{field.name.upper()}" for field in fields(Tuning)}
    given = {name: getattr(settings, key) for name, key in names.items() if hasattr(settings, key)}
    return Tuning(**given)
