"""What to open a task with, and what is known of a task before it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from evaluators.errors import BadTask
from evaluators.model import Overlong, TaskMode

MODES: tuple[TaskMode, ...] = get_args(TaskMode)

CHOOSING: tuple[TaskMode, ...] = ("generative", "likelihood")
"""The two modes of multiple-choice tasks, the default first."""


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
    overlong: Overlong = "unscored"
    """What becomes of a prompt that does not fit into the context window."""
    system_prompt: str | None = None
    """Stands before the task's own description."""
    fewshot_as_multiturn: bool = True
    """Few-shot examples are turns of the chat; False puts them all into one user message."""
    chat: bool = True
    """False renders without a chat: one user message holding the text lm-eval would send."""
    fewshot_seed: int = 1234
    """Seed that draws the few-shot examples."""
    mode: TaskMode | None = None
    """How a multiple-choice task is put; None is lettered options, and for all other tasks the
    only way there is."""

    def __post_init__(self) -> None:
        """Refuse a mode that does not exist.

        Raises:
            BadTask: With the modes that do.
        """
        if self.mode is not None and self.mode not in MODES:
            reason = f"there is no mode {self.mode!r}, only {', '.join(MODES)}"
            raise BadTask(task=self.name, reason=reason)
        if self.overlong not in get_args(Overlong):
            known = ", ".join(get_args(Overlong))
            reason = f"overlong = {self.overlong!r} is unknown, only {known}"
            raise BadTask(task=self.name, reason=reason)

    @property
    def key(self) -> str:
        """The name in every result: with the mode, where the task could be put in two."""
        return f"{self.name}:{self.mode}" if self.mode in CHOOSING else self.name

    @classmethod
    def parse(cls, text: str) -> TaskSpec:
        """Read a name as people write it: `arc_easy`, or `arc_easy:likelihood` with a mode.

        Raises:
            BadTask: There is no such mode.
        """
        name, colon, mode = text.rpartition(":")
        return cls(name, mode=mode) if colon else cls(text)  # type: ignore[arg-type] # checked there

    def wire(self) -> dict[str, Any]:
        """Return the fields as JSON."""
        return asdict(self)

    def changes(self) -> dict[str, Any]:
        """Return the name and what differs from the defaults: new fields change no old digest."""
        plain = asdict(type(self)(self.name))
        return {k: v for k, v in asdict(self).items() if k == "name" or v != plain[k]}

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
    modes: tuple[TaskMode, ...] = ("generate_until",)
    """How it can be put, the default first."""


def modes_of(config: Mapping[str, Any]) -> tuple[TaskMode, ...]:
    """Return how a task can be put, the default first, as far as its configuration tells."""
    if any(config.get(key) for key in ("unsafe_code", "doc_to_image", "doc_to_audio")):
        return ()
    output = str(config.get("output_type", "generate_until"))
    modes: dict[str, tuple[TaskMode, ...]] = {
        "generate_until": ("generate_until",), "multiple_choice": CHOOSING,
    }  # fmt: skip
    return modes.get(output, ())
