"""What the agent is told: the command of the engine, and what is known of the model without it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

SERVED_AS = "model"
"""The name that requests call the model by."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to start one engine, and the facts that it does not tell itself."""

    label: str
    command: tuple[str, ...]
    """The engine's whole command, its socket included."""
    socket: str
    dtype: str
    device: str
    """`cpu` or `cuda`."""
    batch_size: int
    """Most sequences in flight."""
    quantization: str | None = None
    parameters: int | None = None
    unpack: tuple[str, ...] = ()
    """Command to run first, which writes the weights in a form that the engine reads."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of the engine beside ours."""
    versions: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the plan as the command line carries it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Read what `to_json` wrote."""
        fields = json.loads(text)
        for name in ("command", "unpack"):
            fields[name] = tuple(fields[name])
        return cls(**fields)
