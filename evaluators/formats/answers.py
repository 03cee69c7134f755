"""Anyone's answers to be graded: a line per answer, with the gold answer beside it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from evaluators.errors import BadFile
from evaluators.formats.lines import problem, read_objects


def _text(value: object) -> object:
    """Write a JSON number as the text it is."""
    return json.dumps(value) if type(value) in {int, float} else value


Text = Annotated[str, BeforeValidator(_text)]


class Question(BaseModel):
    """One answer. Keys of others are let through unless they look like a slip of one of these."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    id: str | int | None = None
    prediction: Text | None
    """The whole reply or the answer alone; null for a sample without a reply."""
    gold: Annotated[Text, Field(min_length=1)]
    choices: Annotated[list[str], Field(min_length=2, max_length=26)] = Field(default=[])

    @model_validator(mode="after")
    def _knows_its_keys(self) -> Self:
        for key in self.model_extra or {}:
            near = difflib.get_close_matches(key, type(self).model_fields, n=1, cutoff=0.8)
            if near:
                msg = f"unknown key {key!r}; did you mean {near[0]!r}?"
                raise ValueError(msg)
        return self


def read_answers(path: Path) -> Iterator[Question]:
    """Yield the answers of a file, line by line; `-` is standard input.

    Raises:
        BadFile: With the line's number: it is not JSON or not an answer.
    """
    for number, _, data in read_objects(path):
        try:
            yield Question.model_validate(data)
        except ValidationError as error:
            raise BadFile(path=str(path), line=number, reason=problem(error)) from error
