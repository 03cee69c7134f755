"""A served model and the way to it, whether a child process of ours serves it or somebody else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from evaluators.runtimes.dialects import Dialect


@dataclass(frozen=True, slots=True)
class Connection:
    """A served model and the way to it."""

    life: Life
    dialect: Dialect
    facts: Mapping[str, Any]
    """What the server says of itself, as `server.protocol.Facts` has it."""


class Life(Protocol):
    """What a running model lives in: a child process, or a connection to somebody's server."""

    @property
    def pid(self) -> int | None:
        """Process id of the child, which leads its process group; None where there is none."""
        ...

    def alive(self) -> bool:
        """Tell whether it has not been seen to end."""
        ...

    async def kill(self) -> None:
        """End it, and everything that belongs to it."""
        ...

    async def last_words(self, *, within: float) -> str | None:
        """Return why it ends, if it ends within so many seconds and says so."""
        ...

    async def wait(self) -> int:
        """Wait until it has ended; return the exit status, negative for a signal."""
        ...
