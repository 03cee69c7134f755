"""Anyone's transcripts: a line per sample that says which of its answers were right."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Self, get_args

from pydantic import Field, JsonValue, ValidationError, model_validator

from evaluators.errors import BadFile
from evaluators.formats.judgements import Keyed, Said
from evaluators.formats.lines import problem, read_objects, write_lines
from evaluators.metrics import Judgement, Trajectory
from evaluators.metrics.trajectory import Costs

_PARTS = (
    ("tokens_first", "tokens_out"), ("tokens_computed", "tokens_out"), ("calls_first", "calls"),
)  # fmt: skip
"""Costs that are part of others."""

Count = Annotated[int, Field(ge=0, le=2**53)]
Share = Annotated[float, Field(ge=0, le=1)]


class Line(Keyed):
    """One sample."""

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
    verdicts: list[Said] | None = None
    """What was said about answers on the way."""
    odds: Annotated[list[Share], Field(min_length=3, max_length=3)] | None = None
    """By label probabilities: P(right at first), P(right again | right), P(right then | wrong)."""
    facts: dict[str, JsonValue] = Field(default={})
    """What the method noted besides, for metrics that ask for it by name."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
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
            judgements=tuple(
                Judgement(v.correct, v.verdict, v.score, v.location, v.gold_location)
                for v in self.verdicts or ()
            ),
            odds=(self.odds[0], self.odds[1], self.odds[2]) if self.odds else None,
            facts=self.facts,
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
    if trajectory.judgements:
        line["verdicts"] = [_said(judgement) for judgement in trajectory.judgements]
    if trajectory.odds is not None:
        line["odds"] = trajectory.odds
    if trajectory.facts:
        line["facts"] = dict(trajectory.facts)
    return json.dumps(line)


def _said(judgement: Judgement) -> dict[str, object]:
    said = asdict(judgement)
    return {key: value for key, value in said.items() if value is not None or key == "verdict"}


def write_transcripts(path: Path, trajectories: Iterable[Trajectory]) -> Path:
    """Write a file that `decompose` reads."""
    return write_lines(path, (to_line(trajectory) for trajectory in trajectories))
