"""What to open a task with, and what is known of a task before it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task and how to put its questions; every default is lm-eval's own."""

    name: str
    num_fewshot: int | None = None
    """None leaves it to the task."""
    metric: str | None = None
    """Primary metric; None takes the task's first."""
    filter: str | None = None
    """Primary filter; None takes the task's first."""
    threshold: float = 1.0
    """An answer is correct when its score reaches this."""
    max_tokens: int | None = None
    """Token limit of answer calls in place of the task's own."""
    temperature: float | None = None
    """Temperature of answer calls in place of the task's own; above 0 replicates differ."""
    system_prompt: str | None = None
    """Stands before the task's own description."""
    fewshot_as_multiturn: bool = True
    """Few-shot examples are turns of the chat; False puts them all into one user message."""
    chat: bool = True
    """False renders without a chat: one user message holding the text lm-eval would send."""
    fewshot_seed: int = 1234
    """Seed that draws the few-shot examples."""

    def wire(self) -> dict[str, Any]:
        """Return the fields as JSON."""
        return asdict(self)

    @classmethod
    def from_wire(cls, fields: Mapping[str, Any]) -> TaskSpec:
        """Build from what `wire` returned."""
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class TaskEntry:
    """A task that can be opened, as far as its YAML file tells."""

    name: str
    summary: str
    """One line for people; empty when the file has none."""
    distribution: str
    """The installed package it comes from; empty for a folder named by the caller."""
    version: str
    """The task's version, not the package's."""
    path: Path
    """Its YAML file."""
