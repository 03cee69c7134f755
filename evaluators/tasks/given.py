"""Solutions that a task puts before the model: what is shown, and the label that is not.

A task's file names the fields of its documents that hold them:

    metadata:
      given:
        text: reasoning            # the solution; a list of steps is joined by line breaks
        label: previous_score      # whether it is right; stays here
        steps: steps               # its steps, where the data set has them apart
        author: model              # who wrote it
        first_error: mistake_index # its first wrong step, from 0; null or -1: none; stays here
        answer: pred               # what its final answer was taken to be
      cluster: question            # documents that share this are not independent

Only `text` and `label` are needed. What is graded as an answer and reads exactly as the given
solution gets the stored label.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from evaluators.errors import BadTask
from evaluators.model import Json
from evaluators.tasks.lm_eval import Doc
from evaluators.tasks.written import clean

NO_ERROR = -1
"""The place of the first wrong step where there is none."""

_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class GivenFields:
    """Which fields of a document hold what, as the task's file says."""

    text: str
    label: str
    steps: str = ""
    author: str = ""
    first_error: str = ""
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A given solution with its label; lives in the task's own process only."""

    text: str
    correct: bool
    steps: tuple[str, ...] = ()
    author: str = ""
    first_error: int | None = None
    answer: str | None = None
    """What its final answer was taken to be; None where the data set does not say."""

    def shown(self) -> dict[str, Json]:
        """Return what evaluators may see of it."""
        return {"text": self.text, "steps": list(self.steps), "author": self.author}


class GivenReader:
    """Reads given solutions off documents."""

    def __init__(self, task: str, names: GivenFields) -> None:
        """Remember which task it is, for what a refusal says."""
        self._task, self._names = task, names

    def read(self, doc: Doc, number: int) -> Labelled:
        """Return a document's solution.

        Raises:
            BadTask: The document does not hold what the task's file says; with its number.
        """
        names = self._names
        steps = self._steps(doc, number)
        return Labelled(
            text=self._text(doc, number),
            correct=self._label(doc, number),
            steps=steps,
            author=clean(str(self._field(doc, number, names.author))) if names.author else "",
            first_error=self._first_error(doc, number, steps),
            answer=self._answer(doc, number),
        )

    def _text(self, doc: Doc, number: int) -> str:
        found = self._field(doc, number, self._names.text)
        text = "\n".join(found) if _is_texts(found) else found
        if not isinstance(text, str) or not clean(text).strip():
            raise self._bad(number, f"{self._names.text} is not a solution: {found!r:.60}")
        return clean(text)

    def _label(self, doc: Doc, number: int) -> bool:
        found = self._field(doc, number, self._names.label)
        label = found[0] if isinstance(found, list) and len(found) == 1 else found
        if not isinstance(label, bool):
            raise self._bad(number, f"{self._names.label} is neither true nor false: {found!r:.60}")
        return label

    def _steps(self, doc: Doc, number: int) -> tuple[str, ...]:
        if not self._names.steps:
            return ()
        found = self._field(doc, number, self._names.steps)
        if not _is_texts(found):
            raise self._bad(number, f"{self._names.steps} is not a list of texts: {found!r:.60}")
        return tuple(map(clean, found))

    def _first_error(self, doc: Doc, number: int, steps: Sequence[str]) -> int | None:
        if not self._names.first_error:
            return None
        found = self._field(doc, number, self._names.first_error)
        place = NO_ERROR if found is None else found
        if not isinstance(place, int) or isinstance(place, bool) or place < NO_ERROR:
            raise self._bad(number, f"{self._names.first_error} is not a step: {found!r:.60}")
        if steps and place >= len(steps):
            reason = f"{self._names.first_error} is {place}, and there are {len(steps)} steps"
            raise self._bad(number, reason)
        return place

    def _answer(self, doc: Doc, number: int) -> str | None:
        if not self._names.answer:
            return None
        found = self._field(doc, number, self._names.answer)
        return clean(str(found)).strip() or None if found is not None else None

    def _field(self, doc: Doc, number: int, name: str) -> Any:
        if not isinstance(doc, Mapping) or name not in doc:
            raise self._bad(number, f"has no field {name!r}, which metadata.given names")
        return doc[name]

    def _bad(self, number: int, reason: str) -> BadTask:
        return BadTask(task=self._task, reason=f"document {number}: {reason}")


def given_fields(task: str, metadata: object) -> GivenFields | None:
    """Return what a task's file says under `metadata: given:`; None where it says nothing.

    Raises:
        BadTask: It is not a mapping of known names to names of fields.
    """
    found = metadata.get("given") if isinstance(metadata, Mapping) else None
    if found is None:
        return None
    known = [field.name for field in fields(GivenFields)]
    if not isinstance(found, Mapping) or not {"text", "label"} <= found.keys():
        reason = "metadata.given needs the fields that hold the text and its label"
        raise BadTask(task=task, reason=reason)
    for key, value in found.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f", only {', '.join(known)}"
            raise BadTask(task=task, reason=f"metadata.given knows no {key!r}{hint}")
        if not isinstance(value, str) or not value:
            reason = f"metadata.given: {key} is no name of a field: {value!r:.60}"
            raise BadTask(task=task, reason=reason)
    return GivenFields(**found)


def cluster_of(doc: Doc, name: str) -> str:
    """Return what a document shares with those that are not independent of it, in short."""
    value = clean(str(doc[name]))
    if len(value) <= _LONGEST_NAME:
        return value
    return hashlib.sha256(value.encode()).hexdigest()[:16]


def _is_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
