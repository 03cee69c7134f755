"""How runs are worked on: every number with its unit, bounds and meaning."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]


def variable(name: str) -> str:
    """Return the environment variable, and the Django setting, of a number."""
    return f"REDRAFT_{name.upper()}"


class Numbers(BaseModel):
    """Times, sizes and limits of the work; a variable `REDRAFT_<NAME>` replaces a default."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=variable, validate_by_name=True
    )

    lease_seconds: Seconds = Field(
        60.0, description="How long a worker may stay silent before its work is given to another."
    )
    heartbeat_seconds: Seconds = Field(
        10.0, description="How often a worker renews its leases; at most a third of the lease."
    )
    sweep_seconds: Seconds = Field(15.0, description="How often lost leases are looked for.")
    poll_seconds: Seconds = Field(
        1.5, description="How often an idle worker looks for work, whatever the broker does."
    )
    batch_samples: Count = Field(
        32, description="Finished samples are committed when this many have come together."
    )
    batch_seconds: Seconds = Field(
        10.0, description="Finished samples are committed at the latest after this time."
    )
    max_unscored: float = Field(
        0.05, ge=0, le=1, description="Share of samples that may stay unscored before a run fails."
    )
    slice_samples: Count = Field(
        500, description="Longest shard: longer tasks are cut, for several workers to share."
    )
    shards_at_once: Count = Field(
        8, description="Most shards that one runtime works on together; it takes more only as its "
        "present ones do not keep it full."
    )  # fmt: skip
    samples_in_flight: Count = Field(
        16, description="Samples of one shard worked on at once; twice the batch if that is more."
    )
    calls_in_flight: Count = Field(
        64, description="Calls that all shards of a runtime have in flight; twice its batch if "
        "that is more."
    )  # fmt: skip
    endpoint_slots: Count = Field(
        2, description="Endpoints that a worker which serves them talks to at a time."
    )
    local_runtimes: Annotated[int, Field(ge=1, le=8)] = Field(
        2, description="Models with weights of their own that a slot without GPUs may hold "
        "together: an actor and, from 2, a critic beside it."
    )  # fmt: skip
    warm_seconds: Seconds = Field(600.0, description="How long an idle runtime is kept.")
    turn_seconds: Seconds = Field(
        600.0, description="How long a runtime's own shards go first once it is loaded, even "
        "before older ones of other models."
    )  # fmt: skip
    aged_seconds: Seconds = Field(
        600.0, description="A shard that has waited this long goes before the warm runtime's own, "
        "once that one's turn is over."
    )  # fmt: skip
    load_seconds: Seconds = Field(3600.0, description="How long a model may take to load.")
    stall_seconds: Seconds = Field(
        600.0, description="How long a runtime may go without finishing a sample; halfway there "
        "it is asked for a single token, and given up at once if none comes."
    )  # fmt: skip
    canary_seconds: Seconds = Field(
        60.0, description="How long a runtime that has gone quiet may take for that single token."
    )
    run_seconds: float = Field(
        0.0, ge=0, description="How long a run may take from its first claim to its end, after "
        "which it fails; 0 is no limit."
    )  # fmt: skip
    backoff_seconds: float = Field(
        30.0, ge=0, description="First wait before another attempt; doubles with every attempt "
        "without progress."
    )  # fmt: skip
    backoff_limit_seconds: float = Field(
        1800.0, ge=0, description="Longest wait before another attempt."
    )
    drain_seconds: Seconds = Field(
        30.0, description="How long a worker that is told to stop may take."
    )
    max_charged: Count = Field(
        20, description="Attempts that a shard may cost; drained ones are given back."
    )
    fatal_deaths: Count = Field(
        3, description="Deaths in a row, alone and without progress, after which a shard is "
        "quarantined."
    )  # fmt: skip

    @property
    def lease(self) -> timedelta:
        """The lease as the database takes it."""
        return timedelta(seconds=self.lease_seconds)

    def as_settings(self) -> dict[str, float]:
        """Return every number under the name of its setting."""
        return {variable(name): getattr(self, name) for name in Numbers.model_fields}
