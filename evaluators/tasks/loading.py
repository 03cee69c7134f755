"""Open one task: check that it can be evaluated here, then render its prompts and grade answers."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from evaluators.errors import BadTask, GradeError
from evaluators.model import Json, TaskMode
from evaluators.tasks.checking import choose_fewshot, load, one_line
from evaluators.tasks.given import GivenReader, Labelled, cluster_of, given_fields
from evaluators.tasks.lettered import LetteredForm
from evaluators.tasks.lm_eval import Doc, HarnessTask
from evaluators.tasks.spec import CHOOSING, TaskSpec
from evaluators.tasks.weighed import WeighedForm
from evaluators.tasks.written import WrittenForm, clean


class Form(Protocol):
    """How a task's questions are put and its answers scored."""

    metric: str
    """The primary one."""
    filters: tuple[str, ...]
    filter: str
    """The primary one."""
    parts: tuple[Json, ...]
    """What decides prompts and grades beside the task's own configuration and documents."""

    def sampling(self) -> dict[str, Json]:
        """Return how answers are written."""
        ...

    def render(self, doc: Doc) -> dict[str, Any]:
        """Return the fields of a sample that come from its document."""
        ...

    def gold(self, doc: Doc) -> str:
        """Return the expected answer for display."""
        ...

    def score(self, doc: Doc, answer: object) -> tuple[dict[str, float], dict[str, str | None]]:
        """Return every metric of every filter, and what every filter extracts."""
        ...

    def extract(self, doc: Doc, text: str) -> str | None:
        """Return what the primary filter takes the answer to be."""
        ...


class OpenTask:
    """A task that has passed every check; lives in the process that may import lm-eval."""

    def __init__(self, spec: TaskSpec, path: Path) -> None:
        """Load and check a task.

        Raises:
            BadTask: It cannot be evaluated here; the reason says why.
        """
        self._task, self.mode = load(spec, path)
        self.spec = replace(spec, mode=self.mode)
        self._form = _form(self.spec, self._task, self.mode)
        self._num_fewshot = choose_fewshot(spec, self._task)
        self._golds: dict[int, str] = {}
        self._given = self._read_given()
        self._restart()
        self._render(1)

    @property
    def name(self) -> str:
        """The name in every result, with the mode where there are two."""
        return self.spec.key

    def info(self) -> dict[str, Json]:
        """Return the fields of `TaskInfo`."""
        config = self._task.dump()
        metadata = config.get("metadata")
        summary = metadata.get("summary") if isinstance(metadata, Mapping) else None
        source = " ".join(str(config[k]) for k in ("dataset_path", "dataset_name") if k in config)
        return {
            "name": self.name,
            "version": self._task.version,
            "size": len(self._task.docs),
            "sampling": self._form.sampling(),
            "metric": self._form.metric,
            "filter": self._form.filter,
            "threshold": self.spec.threshold,
            "num_fewshot": self._num_fewshot,
            "summary": str(summary or source),
            "digest": self._digest(config),
            "filters": list(self._form.filters),
            "config": config,
            "mode": self.mode,
            "overlong": self.spec.overlong,
        }

    def samples(self, limit: int | None, start: int = 0) -> list[dict[str, Json]]:
        """Render the prompts from `start` to `limit`, or to the last.

        Raises:
            BadTask: The limit is out of range, or a prompt cannot be rendered.
        """
        size = len(self._task.docs)
        if limit is not None and not 1 <= limit <= size:
            raise BadTask(task=self.spec.name, reason=f"limit {limit} is not between 1 and {size}")
        end = size if limit is None else limit
        self._render(end)
        return self._samples[start:end]

    def grade(self, index: int, answers: Sequence[object]) -> list[dict[str, Json]]:
        """Grade each answer to one document: a text, or the likelihoods of the choices.

        Raises:
            GradeError: The task's own code failed.
        """
        doc = self._doc(index)
        try:
            gold = self._golds.setdefault(index, clean(self._form.gold(doc)))
            given = self._given[index] if self._given else None
            return [
                self._labelled(doc, given, gold)
                if given is not None and _reads_as(answer, given)
                else self._graded(doc, answer, gold)
                for answer in answers
            ]
        except GradeError:
            raise
        except Exception as error:
            raise GradeError(task=self.name, reason=one_line(error)) from error

    def extract(self, index: int, text: str) -> str | None:
        """Return what the primary filter takes the answer to be.

        Raises:
            GradeError: The filter's own code failed.
        """
        doc = self._doc(index)
        given = self._given[index] if self._given else None
        if given is not None and given.answer and _reads_as(text, given):
            return given.answer
        try:
            return self._form.extract(doc, text)
        except Exception as error:
            raise GradeError(task=self.name, reason=one_line(error)) from error

    def _doc(self, index: int) -> Doc:
        if not 0 <= index < len(self._task.docs):
            raise GradeError(task=self.name, reason=f"there is no sample {index}")
        return self._task.docs[index]

    def _graded(self, doc: Doc, answer: object, gold: str) -> dict[str, Json]:
        scores, extractions = self._form.score(doc, answer)
        score = scores.get(f"{self._form.metric},{self._form.filter}", math.nan)
        if not math.isfinite(score):
            reason = f"metric {self._form.metric!r} gave no number for this answer"
            raise GradeError(task=self.name, reason=reason)
        return {
            "correct": score >= self.spec.threshold,
            "score": score,
            "extracted": extractions[self._form.filter],
            "gold": gold,
            "scores": {key: value for key, value in scores.items() if math.isfinite(value)},
            "extractions": extractions,
        }

    def _labelled(self, doc: Doc, given: Labelled, gold: str) -> dict[str, Json]:
        """Grade the given solution as the data set does: by its label."""
        form, score = self._form, float(given.correct)
        extracted = given.answer or form.extract(doc, given.text)
        return {
            "correct": given.correct,
            "score": score,
            "extracted": extracted,
            "gold": gold,
            "scores": {f"{form.metric},{name}": score for name in form.filters},
            "extractions": dict.fromkeys(form.filters, extracted),
            "first_error": given.first_error,
        }

    def _read_given(self) -> tuple[Labelled, ...]:
        """Read the given solutions of all documents; none where the task gives none."""
        names = given_fields(self.spec.name, self._task.config.metadata)
        if names is None:
            return ()
        reader = GivenReader(self.spec.name, names)
        return tuple(reader.read(doc, number) for number, doc in enumerate(self._task.docs))

    def _put(self, index: int) -> dict[str, Json]:
        """Return what a sample holds beside its question: a solution to judge, its cluster."""
        metadata = self._task.config.metadata
        name = metadata.get("cluster") if isinstance(metadata, Mapping) else None
        put: dict[str, Json] = {}
        if isinstance(name, str):
            put["cluster"] = cluster_of(self._task.docs[index], name)
        if self._given:
            put["given"] = self._given[index].shown()
        return put

    def _restart(self) -> None:
        self._task.fewshot(self.spec.num_fewshot, self.spec.fewshot_seed)
        self._samples: list[dict[str, Json]] = []

    def _render(self, count: int) -> None:
        """Render prompts in order: each draws its few-shot examples from one running generator.

        What has been rendered is kept, so that shards of one task do not render it again.
        """
        while len(self._samples) < count:
            index = len(self._samples)
            try:
                rendered = self._form.render(self._task.docs[index]) | self._put(index)
            except BadTask:
                raise
            except Exception as error:
                # The generator has moved on: what was rendered must be rendered again.
                self._restart()
                reason = f"prompt {index} cannot be rendered: {one_line(error)}"
                raise BadTask(task=self.spec.name, reason=reason) from error
            self._samples.append({"id": str(index), **rendered})

    def _digest(self, config: Mapping[str, Json]) -> str:
        """Digest what decides prompts and grades; where the file lies does not."""
        metadata = config.get("metadata")
        kept = dict(metadata) if isinstance(metadata, Mapping) else {}
        kept.pop("config_source", None)
        asked = self.spec.changes()
        if self.mode in CHOOSING:
            asked["mode"] = self.mode
        digest = hashlib.sha256()
        for part in (asked, {**config, "metadata": kept}, *self._form.parts):
            digest.update(_canonical(part))
        for doc in self._task.docs:
            digest.update(_canonical(doc))
        for doc in self._task.fewshot_docs() if self._num_fewshot else ():
            digest.update(_canonical(doc))
        return digest.hexdigest()


def _form(spec: TaskSpec, task: HarnessTask, mode: TaskMode) -> Form:
    match mode:
        case "generative":
            return LetteredForm(spec, task)
        case "likelihood":
            return WeighedForm(spec, task)
        case "generate_until":
            return WrittenForm(spec, task)


def _reads_as(answer: object, given: Labelled) -> bool:
    """Tell whether a written answer is the given solution, word for word."""
    return isinstance(answer, str) and clean(answer) == given.text


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, default=str).encode()
