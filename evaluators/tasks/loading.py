"""Open one task: check that it can be evaluated here, then render its prompts and grade answers."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluators.errors import BadTask, GradeError
from evaluators.model import Json
from evaluators.tasks.datasets import data_errors
from evaluators.tasks.lm_eval import Doc, HarnessTask, raw_config
from evaluators.tasks.spec import TaskSpec

_DEFAULT_MAX_TOKENS = 256
_TOKEN_LIMITS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_MOST_EXTRACTED = 10_000


class OpenTask:
    """A task that has passed every check; lives in the process that may import lm-eval."""

    def __init__(self, spec: TaskSpec, path: Path) -> None:
        """Load and check a task.

        Raises:
            BadTask: It cannot be evaluated here; the reason says why.
        """
        self.spec = spec
        _check_file(spec.name, path)
        self._task = _load(spec.name, path)
        _check_loaded(spec.name, self._task)
        self._metric = _metric(spec, self._task)
        self._filter = _filter(spec, self._task)
        self._num_fewshot = _fewshot(spec, self._task)
        self._fallbacks = {name: self._task.fallbacks(name) for name in self._task.filters}
        self._golds: dict[int, str] = {}
        next(self._rendered(1))

    def info(self) -> dict[str, Json]:
        """Return the fields of `TaskInfo`."""
        config = self._task.dump()
        metadata = config.get("metadata")
        summary = metadata.get("summary") if isinstance(metadata, Mapping) else None
        source = " ".join(str(config[k]) for k in ("dataset_path", "dataset_name") if k in config)
        return {
            "name": self.spec.name,
            "version": self._task.version,
            "size": len(self._task.docs),
            "sampling": self._sampling(),
            "metric": self._metric,
            "filter": self._filter,
            "threshold": self.spec.threshold,
            "num_fewshot": self._num_fewshot,
            "summary": str(summary or source),
            "digest": self._digest(config),
            "filters": list(self._task.filters),
            "config": config,
        }

    def samples(self, limit: int | None) -> list[dict[str, Json]]:
        """Render the first `limit` prompts, or all.

        Raises:
            BadTask: The limit is out of range, or a prompt cannot be rendered.
        """
        size = len(self._task.docs)
        if limit is not None and not 1 <= limit <= size:
            raise BadTask(task=self.spec.name, reason=f"limit {limit} is not between 1 and {size}")
        return list(self._rendered(size if limit is None else limit))

    def grade(self, index: int, texts: Sequence[str]) -> list[dict[str, Json]]:
        """Grade each text as an answer to one document.

        Raises:
            GradeError: The task's own code failed.
        """
        doc = self._doc(index)
        try:
            gold = self._golds.setdefault(index, _clean(self._task.target(doc)))
            return [self._graded(doc, text, gold) for text in texts]
        except GradeError:
            raise
        except Exception as error:
            raise GradeError(task=self.spec.name, reason=_one_line(error)) from error

    def extract(self, index: int, text: str) -> str | None:
        """Return what the primary filter takes the answer to be.

        Raises:
            GradeError: The filter's own code failed.
        """
        try:
            filtered = self._task.filtered(self._doc(index), _clean(text))[self._filter]
        except Exception as error:
            raise GradeError(task=self.spec.name, reason=_one_line(error)) from error
        return _extracted(filtered, self._fallbacks[self._filter])

    def _doc(self, index: int) -> Doc:
        if not 0 <= index < len(self._task.docs):
            raise GradeError(task=self.spec.name, reason=f"there is no sample {index}")
        return self._task.docs[index]

    def _graded(self, doc: Doc, text: str, gold: str) -> dict[str, Json]:
        filtered = self._task.filtered(doc, _clean(text))
        scores: dict[str, float] = {}
        for name, found in filtered.items():
            for metric, value in self._task.scores(doc, found).items():
                scores[f"{metric},{name}"] = value
        score = scores.get(f"{self._metric},{self._filter}", math.nan)
        if not math.isfinite(score):
            reason = f"metric {self._metric!r} gave no number for this answer"
            raise GradeError(task=self.spec.name, reason=reason)
        extractions = {k: _extracted(v, self._fallbacks[k]) for k, v in filtered.items()}
        return {
            "correct": score >= self.spec.threshold,
            "score": score,
            "extracted": extractions[self._filter],
            "gold": gold,
            "scores": {key: value for key, value in scores.items() if math.isfinite(value)},
            "extractions": extractions,
        }

    def _rendered(self, count: int) -> Iterator[dict[str, Json]]:
        """Render prompts in order: each draws its few-shot examples from one running generator."""
        self._task.fewshot(self.spec.num_fewshot, self.spec.fewshot_seed)
        for index in range(count):
            try:
                yield self._sample(index)
            except BadTask:
                raise
            except Exception as error:
                reason = f"prompt {index} cannot be rendered: {_one_line(error)}"
                raise BadTask(task=self.spec.name, reason=reason) from error

    def _sample(self, index: int) -> dict[str, Json]:
        doc = self._task.docs[index]
        question = {"role": "user", "content": self._task.question(doc)}
        if not self.spec.chat:
            text = self._task.text(doc, system_prompt=self.spec.system_prompt)
            messages = [{"role": "user", "content": text}]
        else:
            shown = self._task.messages(
                doc,
                system_prompt=self.spec.system_prompt,
                multiturn=self.spec.fewshot_as_multiturn,
            )
            if shown is None:
                raise BadTask(
                    task=self.spec.name,
                    reason="makes plain text, not a chat; open it with chat off",
                )
            messages = shown
        return {"id": str(index), "messages": messages, "question": [question]}

    def _sampling(self) -> dict[str, Json]:
        """Read the generation settings the way lm-eval's model classes do."""
        ((_, settings),) = self._task.requests(self._task.docs[0])
        stop = settings.get("until") or []
        limits = [settings[key] for key in _TOKEN_LIMITS if settings.get(key) is not None]
        temperature = float(settings.get("temperature") or 0.0)
        if settings.get("do_sample") is False:
            temperature = 0.0
        if self.spec.temperature is not None:
            temperature = self.spec.temperature
        return {
            "max_tokens": self.spec.max_tokens or int([*limits, _DEFAULT_MAX_TOKENS][0]),
            "temperature": temperature,
            "top_p": float(settings.get("top_p") or 1.0),
            "stop": [s for s in ([stop] if isinstance(stop, str) else stop) if s],
        }

    def _digest(self, config: Mapping[str, Json]) -> str:
        """Digest what decides prompts and grades; where the file lies does not."""
        metadata = config.get("metadata")
        kept = dict(metadata) if isinstance(metadata, Mapping) else {}
        kept.pop("config_source", None)
        digest = hashlib.sha256()
        for part in (self.spec.wire(), {**config, "metadata": kept}):
            digest.update(_canonical(part))
        for doc in self._task.docs:
            digest.update(_canonical(doc))
        for doc in self._task.fewshot_docs() if self._num_fewshot else ():
            digest.update(_canonical(doc))
        return digest.hexdigest()


def _check_file(name: str, path: Path) -> None:
    """Refuse what the file alone gives away, before a data set is fetched."""
    try:
        config = raw_config(path)
    except Exception as error:
        raise BadTask(task=name, reason=f"its file cannot be read: {_one_line(error)}") from error
    if "class" not in config:
        _check_output(name, str(config.get("output_type", "generate_until")))
    _check_code(name, bool(config.get("unsafe_code")))


def _check_output(name: str, output_type: str) -> None:
    if output_type != "generate_until":
        reason = (
            f"{output_type} is not supported yet: the model must write its answer; "
            "supported are generate_until tasks"
        )
        raise BadTask(task=name, reason=reason)


def _check_code(name: str, unsafe: bool) -> None:
    if unsafe:
        raise BadTask(task=name, reason="grading runs code that the model wrote: needs a sandbox")


def _load(name: str, path: Path) -> HarnessTask:
    try:
        return HarnessTask(path)
    except ImportError as error:
        reason = f"needs something that is not installed: {_one_line(error)}"
        raise BadTask(task=name, reason=reason) from error
    except data_errors() as error:
        reason = f"its data set cannot be fetched: {_one_line(error)}"
        raise BadTask(task=name, reason=reason) from error
    except Exception as error:
        raise BadTask(task=name, reason=f"cannot be loaded: {_one_line(error)}") from error


def _check_loaded(name: str, task: HarnessTask) -> None:
    _check_output(name, task.output_type)
    _check_code(name, task.unsafe_code)
    if task.multimodal:
        raise BadTask(task=name, reason="shows images or sounds; supported is text alone")
    if not len(task.docs):
        raise BadTask(task=name, reason="has no documents")
    try:
        kinds = [kind for kind, _ in task.requests(task.docs[0])]
    except Exception as error:
        raise BadTask(task=name, reason=f"makes no request: {_one_line(error)}") from error
    if kinds != ["generate_until"]:
        reason = f"asks for {' and '.join(kinds)} per sample; supported is one generate_until"
        raise BadTask(task=name, reason=reason)


def _metric(spec: TaskSpec, task: HarnessTask) -> str:
    """Choose the primary metric: the one asked for, or the task's first that is a mean."""
    usable = [name for name in task.means if not task.lower_is_better(name)]
    wanted = spec.metric or next(iter(usable), None)
    if wanted in usable:
        return str(wanted)
    listed = ", ".join(usable) or "none"
    if wanted is None or wanted in task.metrics:
        named = wanted or ", ".join(task.metrics) or "no metric"
        reason = (
            f"{named} is computed over the whole corpus or is better when lower, so it cannot "
            f"grade one answer; metrics that can: {listed}"
        )
        raise BadTask(task=spec.name, reason=reason)
    raise BadTask(task=spec.name, reason=f"has no metric {wanted!r}; it has: {listed}")


def _filter(spec: TaskSpec, task: HarnessTask) -> str:
    wanted = spec.filter or task.filters[0]
    if wanted not in task.filters:
        listed = ", ".join(task.filters)
        raise BadTask(task=spec.name, reason=f"has no filter {wanted!r}; it has: {listed}")
    return wanted


def _fewshot(spec: TaskSpec, task: HarnessTask) -> int:
    if spec.num_fewshot is not None and spec.num_fewshot < 0:
        raise BadTask(task=spec.name, reason=f"num_fewshot {spec.num_fewshot} is negative")
    holds = task.fewshot(spec.num_fewshot, spec.fewshot_seed)
    if spec.num_fewshot not in (None, holds):
        raise BadTask(task=spec.name, reason=f"fixes num_fewshot at {holds}; it cannot be changed")
    return holds


def _extracted(filtered: object, fallbacks: set[str]) -> str | None:
    """Return a filter's result as text; None when it says that it found nothing."""
    while isinstance(filtered, list | tuple):
        if not filtered:
            return None
        filtered = filtered[0]
    text = "" if filtered is None else _clean(str(filtered))[:_MOST_EXTRACTED]
    return None if not text.strip() or text in fallbacks else text


def _clean(text: str) -> str:
    """Drop NUL and replace lone surrogates: neither can be stored, and graders may choke."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, default=str).encode()


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    shown = text if len(text) <= 300 else f"{text[:300]}…"
    return f"{type(error).__name__}: {shown}" if shown else type(error).__name__
