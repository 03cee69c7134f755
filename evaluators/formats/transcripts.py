"""Anyone's transcripts: a line per sample that says which of its answers were right."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from evaluators.errors import BadFile
from evaluators.formats.lines import problem, read_objects, write_lines
from evaluators.metrics import Trajectory
from evaluators.metrics.trajectory import Costs

_PARTS = (
    ("tokens_first", "tokens_out"), ("tokens_computed", "tokens_out"), ("calls_first", "calls"),
)  # fmt: skip
"""Costs that are part of others."""

Count = Annotated[int, Field(ge=0, le=2**53)]


class Line(BaseModel):
    """One sample. Keys of others are let through unless they look like a slip of one of these."""

    model_config = ConfigDict(strict=True, extra="allow")

    id: str | int
    correct: Annotated[list[bool], Field(min_length=1)] | None
    """Answers in order, first to last; null for a sample that could not be scored."""
    task: str = ""
    cluster: str | int = ""
    replicate: Count = 0
    parsed: list[bool] | None = None
    truncated: list[bool] | None = None
    changed: list[bool] | None = None
    abstained: list[bool] | None = None
    calls: Count | None = None
    tokens_in: Count | None = None
    tokens_out: Count | None = None
    tokens_computed: Count | None = None
    tokens_first: Count | None = None
    calls_first: Count | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for key in self.model_extra or {}:
            near = difflib.get_close_matches(key, type(self).model_fields, n=1, cutoff=0.85)
            if near:
                msg = f"unknown key {key!r}; did you mean {near[0]!r}?"
                raise ValueError(msg)
        answers = len(self.correct or ())
        for name in ("parsed", "truncated", "changed", "abstained"):
            states = getattr(self, name)
            if states is not None and len(states) != answers:
                msg = f"{name} has {len(states)} entries for {answers} answers"
                raise ValueError(msg)
        for part, whole in _PARTS:
            some, all_ = getattr(self, part), getattr(self, whole)
            if some is not None and all_ is not None and some > all_:
                msg = f"{part} is {some}, more than the {all_} of {whole}"
                raise ValueError(msg)
        if self.changed and self.changed[0]:
            msg = "changed[0] is true, but the first answer has none before it"
            raise ValueError(msg)
        return self

    def trajectory(self) -> Trajectory:
        """Return the sample as metrics see it."""
        return Trajectory(
            id=str(self.id),
            correct=tuple(self.correct or ()),
            task=self.task,
            cluster=str(self.cluster),
            replicate=self.replicate,
            parsed=tuple(self.parsed or ()),
            truncated=tuple(self.truncated or ()),
            changed=tuple(self.changed or ()),
            abstained=tuple(self.abstained or ()),
            calls=self.calls,
            tokens_in=self.tokens_in,
            tokens_out=self.tokens_out,
            tokens_computed=self.tokens_computed,
            tokens_first=self.tokens_first,
            calls_first=self.calls_first,
            scored=self.correct is not None,
        )


def read_transcripts(path: Path) -> Iterator[Trajectory]:
    """Yield the samples of a file, line by line; `-` is standard input.

    Raises:
        BadFile: With the line's number: it is not JSON, not a sample, or a sample seen before.
    """
    seen: dict[tuple[str, str, int], int] = {}
    for number, _, data in read_objects(path):
        try:
            trajectory = Line.model_validate(data).trajectory()
        except ValidationError as error:
            raise BadFile(path=str(path), line=number, reason=problem(error)) from error
        key = (trajectory.task, trajectory.id, trajectory.replicate)
        first = seen.setdefault(key, number)
        if first != number:
            reason = f"the sample {trajectory.id!r} stands in line {first} already"
            raise BadFile(path=str(path), line=number, reason=reason)
        yield trajectory


def to_line(trajectory: Trajectory) -> str:
    """Return the line that `read_transcripts` reads back as the same trajectory."""
    correct = list(trajectory.correct) if trajectory.scored else None
    line: dict[str, object] = {"id": trajectory.id, "correct": correct}
    states = ("parsed", "truncated", "changed", "abstained") if trajectory.scored else ()
    for name in ("task", "cluster", "replicate", *states):
        if value := getattr(trajectory, name):
            line[name] = value
    for name in get_args(Costs):
        if (value := getattr(trajectory, name)) is not None:
            line[name] = value
    return json.dumps(line)


def write_transcripts(path: Path, trajectories: Iterable[Trajectory]) -> Path:
    """Write a file that `decompose` reads."""
    return write_lines(path, (to_line(trajectory) for trajectory in trajectories))
