"""Anyone's judgements: a line per verdict on an answer, or per choice between two responses."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from evaluators.critique import LOCATIONS, PAIR_POLICIES, POLICIES
from evaluators.errors import BadFile
from evaluators.formats.lines import problem
from evaluators.metrics.judgement import Judgement
from evaluators.metrics.pairwise import TIE, Decision
from evaluators.metrics.trajectory import Trajectory

Step = Annotated[int, Field(ge=-1, le=2**31)]


class Keyed(BaseModel):
    """An object that people write. Keys of others pass unless they look like a slip of its own."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

    @model_validator(mode="after")
    def _knows_its_keys(self) -> Self:
        for key in self.model_extra or {}:
            near = difflib.get_close_matches(key, type(self).model_fields, n=1, cutoff=0.85)
            if near:
                msg = f"unknown key {key!r}; did you mean {near[0]!r}?"
                raise ValueError(msg)
        return self


class Said(Keyed):
    """What was said of one answer, beside the truth."""

    correct: bool
    """Whether the answer is right."""
    verdict: Literal["correct", "wrong", "unsure"] | None = None
    score: float | None = None
    location: Step | None = None
    """Step that was called the first mistake; -1 for none; null where that could not be read."""
    gold_location: Step | None = None
    """Step that is the first mistake; -1 for none. Both count from the same number."""


class _Line(Keyed):
    """What both kinds of lines share."""

    id: str | int
    task: str = ""
    cluster: str | int = ""
    reply: str | None = None
    """The judge's raw text, for the policy to read where the line itself does not say."""


class VerdictLine(_Line, Said):
    """A verdict on one answer."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set & {"verdict", "reply", "location", "score"}:
            msg = "no verdict, reply, location or score; null says that none could be read"
            raise ValueError(msg)
        return self

    def judgement(self, policy: str, locate: str | None) -> Judgement:
        """Return the verdict, read from the reply where the line does not say it."""
        verdict, location = self.verdict, self.location
        if self.reply is not None and "verdict" not in self.model_fields_set:
            verdict = POLICIES[policy].read(self.reply)
        if self.reply is not None and locate and "location" not in self.model_fields_set:
            location = LOCATIONS[locate](self.reply)
        return Judgement(self.correct, verdict, self.score, location, self.gold_location)


class PairLine(_Line):
    """A choice between two responses, shown in this order."""

    first: Annotated[str, Field(min_length=1)]
    second: Annotated[str, Field(min_length=1)]
    chosen: str | None = None
    """Name of the one called better, `tie`, or null where nothing could be read."""
    gold: str

    @model_validator(mode="after")
    def _names_the_two(self) -> Self:
        names = {self.first, self.second}
        if len(names) < 2 or TIE in names:
            msg = f"first and second must be two names other than {TIE!r}"
            raise ValueError(msg)
        for name in ("chosen", "gold"):
            value = getattr(self, name)
            if value is not None and value not in names | {TIE}:
                msg = f"{name} is {value!r}, which is neither first, second nor {TIE!r}"
                raise ValueError(msg)
        if not self.model_fields_set & {"chosen", "reply"}:
            msg = "neither chosen nor reply; null says that no choice could be read"
            raise ValueError(msg)
        return self

    def decision(self, policy: str) -> Decision:
        """Return the choice, read from the reply where the line does not say it."""
        chosen = self.chosen
        if self.reply is not None and "chosen" not in self.model_fields_set:
            read = PAIR_POLICIES[policy].read(self.reply)
            chosen = {"first": self.first, "second": self.second, "tie": TIE, None: None}[read]
        shown = sorted((self.first, self.second))
        pair = json.dumps([self.task, self.id, *shown])
        return Decision(pair, self.first, self.second, chosen, self.gold)


@dataclass(frozen=True, slots=True)
class Given:
    """A verdict with its place."""

    task: str
    cluster: tuple[str, str]
    judgement: Judgement
    asked: bool
    """A verdict was asked for, and not only a location or a score."""


Rows = Sequence[tuple[int, str, dict[str, object]]]
"""Lines with their numbers, as `read_objects` yields them."""


def pairs_in(rows: Rows) -> bool:
    """Tell whether lines are choices between two responses: the first one says."""
    _, _, data = rows[0]
    return "first" in data or "chosen" in data


def read_judgements(
    path: Path, rows: Rows, *, policy: str, locate: str | None = None
) -> Iterator[Given]:
    """Yield the verdicts of a file.

    Args:
        path: The file, for what a refusal says.
        rows: Its lines, a verdict each.
        policy: How replies are read, by name.
        locate: How locations are read from replies, by name.

    Raises:
        BadFile: With the line's number: it is not JSON, not a verdict, or a verdict seen before.
    """
    for line in _read(path, rows, kind=VerdictLine, key=lambda line: (line.task, str(line.id))):
        cluster = (line.task, str(line.cluster or line.id))
        judgement = line.judgement(policy, locate)
        stated = "verdict" in line.model_fields_set or judgement.verdict is not None
        asked = stated or (line.reply is not None and locate is None)
        yield Given(line.task, cluster, judgement, asked)


def trajectories(given: Iterable[Given]) -> list[Trajectory]:
    """Return verdicts as metrics of runs see them: those of one cluster belong to one sample."""
    found: dict[tuple[str, str], list[Judgement]] = {}
    for one in given:
        found.setdefault(one.cluster, []).append(one.judgement)
    return [
        Trajectory(id_, tuple(j.correct for j in said), task, judgements=tuple(said))
        for (task, id_), said in found.items()
    ]


def read_decisions(path: Path, rows: Rows, *, policy: str) -> Iterator[tuple[str, Decision]]:
    """Yield task and choice from every line of a file.

    Raises:
        BadFile: With the line's number: it is not JSON, not a choice, or of an order seen before.
    """
    golds: dict[str, str] = {}
    for line in _read(
        path, rows, kind=PairLine, key=lambda x: (x.task, str(x.id), x.first, x.second)
    ):
        decision = line.decision(policy)
        if golds.setdefault(decision.pair, decision.gold) != decision.gold:
            reason = f"the two orders of pair {line.id!r} have different golds"
            raise BadFile(path=str(path), line=None, reason=reason)
        yield line.task, decision


L = TypeVar("L", bound=_Line)


def _read(
    path: Path, rows: Rows, *, kind: type[L], key: Callable[[L], tuple[str, ...]]
) -> Iterator[L]:
    seen: dict[tuple[str, ...], int] = {}
    for number, _, data in rows:
        try:
            line = kind.model_validate(data)
        except ValidationError as error:
            raise BadFile(path=str(path), line=number, reason=problem(error)) from error
        first = seen.setdefault(key(line), number)
        if first != number:
            reason = f"the judgement {line.id!r} stands in line {first} already"
            raise BadFile(path=str(path), line=number, reason=reason)
        yield line
