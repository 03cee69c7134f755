"""The noun every metric returns: a number with its interval, its counts or its reason."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from evaluators.model import Json

CONFIDENCE = 0.95
"""Of every interval in the library."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """One number as it is shown, with all that a reader needs to judge it."""

    value: float | None
    """None when a denominator is empty; never 0 or NaN in its place."""
    low: float | None = None
    """Lower end of the 95 % interval."""
    high: float | None = None
    """Upper end of the 95 % interval."""
    n: int = 0
    """Samples that the number rests on."""
    n_total: int = 0
    """Samples that were asked for, unscored ones included."""
    numerator: float | None = None
    """Count above the line, for ratios of counts."""
    denominator: float | None = None
    """Count below the line, for ratios of counts."""
    se: float | None = None
    """Standard error; None where it cannot be known."""
    method: str = "none"
    """Name of the interval: `wilson`, `cluster bootstrap`, `clustered t`, `macro`, ..."""
    reason: str = ""
    """Why the value or its interval is missing, or what was left out."""
    dropped: float = 0.0
    """Share of bootstrap resamples in which the number was null."""

    def __post_init__(self) -> None:
        """Refuse what JSON cannot say; a metric has to return null with a reason instead."""
        for name in ("value", "low", "high", "se", "numerator", "denominator", "dropped"):
            number = getattr(self, name)
            if number is not None and not math.isfinite(number):
                msg = f"{name}={number} is not a number that can be shown"
                raise ValueError(msg)
        if self.value is None and not self.reason:
            msg = "a null estimate needs a reason"
            raise ValueError(msg)

    @property
    def has_interval(self) -> bool:
        """Both ends of the interval are known."""
        return self.low is not None and self.high is not None

    def to_json(self) -> dict[str, Json]:
        """Return plain JSON from which `from_json` restores exactly this estimate."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Estimate:
        """Restore an estimate; keys of a later version are ignored."""
        known = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in data.items() if key in known})  # type: ignore[arg-type]  # JSON values are checked by __post_init__


def null(
    reason: str, *, n: int = 0, n_total: int = 0, denominator: float | None = None
) -> Estimate:
    """Return the estimate that says why there is no number."""
    return Estimate(None, n=n, n_total=n_total, denominator=denominator, reason=reason)
