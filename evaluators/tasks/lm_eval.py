"""The one place that knows lm-eval's task classes: a typed view of one loaded task."""

from __future__ import annotations

import inspect
import logging
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from evaluators.model import Json
from evaluators.tasks.solved import KEY as SOLVED
from evaluators.tasks.solved import original_of
from evaluators.tasks.spec import modes_of

if TYPE_CHECKING:
    from evaluators.tasks.index import IndexEntry

Doc: TypeAlias = Any
"""A document: mostly a dict, for tasks written in Python whatever they like."""

Turns: TypeAlias = "list[dict[str, str]]"
"""Messages of a chat."""

_GROUPS = ("tag", "group", "task_list")
"""What says of which groups a task is one; a task built on it is of none."""

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Options:
    """A multiple-choice question."""

    question: str
    texts: tuple[str, ...]
    right: tuple[int, ...]
    """Which of them are right; empty where the document names none of them."""


class HarnessTask:
    """A task as lm-eval loads it, with only what Redraft asks of it."""

    def __init__(self, path: Path) -> None:
        """Load a task file; whatever its code or its data set raises comes through."""
        self._task = _loaded(path)
        self.name = str(self._task.task_name)
        self.docs: Sequence[Doc] = _sequence(self._task.eval_docs)

    @property
    def config(self) -> Any:
        """lm-eval's configuration object."""
        return self._task.config

    @property
    def output_type(self) -> str:
        """What the task asks of a model; only `generate_until` is text."""
        return str(self._task.OUTPUT_TYPE)

    @property
    def multimodal(self) -> bool:
        """The task shows images or sounds."""
        return bool(getattr(self._task, "MULTIMODAL", False))

    @property
    def unsafe_code(self) -> bool:
        """Grading runs code that the model wrote."""
        return bool(getattr(self._task, "UNSAFE_CODE", False))

    @property
    def several_prompts(self) -> bool:
        """Every option makes a prompt of its own, as in Winogrande."""
        return bool(getattr(self._task, "multiple_input", 0))

    @property
    def scores_by_itself(self) -> bool:
        """The task has code of its own that turns what the model said into scores."""
        return callable(getattr(self.config, "process_results", None))

    @property
    def version(self) -> str:
        """The task's own version."""
        return str(self._task.VERSION)

    @property
    def filters(self) -> tuple[str, ...]:
        """Names of the filters, in the task's order."""
        return tuple(ensemble.name for ensemble in self._task._filters)  # noqa: SLF001 - there is no public name

    @property
    def means(self) -> tuple[str, ...]:
        """Metrics whose corpus value is the mean over samples, in the task's order."""
        from lm_eval.api.metrics import mean, nanmean  # type: ignore[import-untyped] # it has no types

        return tuple(k for k, how in self._task.aggregation().items() if how in (mean, nanmean))

    @property
    def metrics(self) -> tuple[str, ...]:
        """All metrics, in the task's order."""
        return tuple(self._task.aggregation())

    def lower_is_better(self, metric: str) -> bool:
        """Tell whether smaller values of the metric are better."""
        return self._task.higher_is_better().get(metric) is False

    def fewshot(self, count: int | None, seed: int) -> int:
        """Set few-shot count and seed as lm-eval's command does; return the count that holds."""
        if count is not None and self.config.num_fewshot != 0:
            self._task.set_config(key="num_fewshot", value=count)
        elif self.config.num_fewshot is None:
            self._task.set_config(key="num_fewshot", value=0)
        self._task.set_fewshot_seed(seed=seed)
        return int(self.config.num_fewshot)

    def messages(
        self, doc: Doc, *, system_prompt: str | None, multiturn: bool
    ) -> list[dict[str, str]] | None:
        """Render a prompt as chat messages; None when the task's own code makes no chat."""
        shown: list[list[dict[str, str]]] = []

        def capture(messages: list[dict[str, str]], **_options: object) -> str:
            shown.append(messages)
            return ""

        self._context(doc, system_prompt, chat_template=capture, fewshot_as_multiturn=multiturn)
        return shown[0] if len(shown) == 1 else None

    def text(self, doc: Doc, *, system_prompt: str | None) -> str:
        """Render a prompt as the plain text that lm-eval sends without a chat template."""
        return str(self._construct(doc, self._context(doc, system_prompt))[0].args[0])

    def question(self, doc: Doc) -> str:
        """Return the question alone."""
        return str(self._task.doc_to_text(doc))

    def target(self, doc: Doc) -> str:
        """Return the expected answer for display."""
        gold = self._task.doc_to_target(doc)
        if getattr(self.config, "doc_to_choice", None) is not None and isinstance(gold, int):
            gold = self._task.doc_to_choice(doc)[gold]
        return " | ".join(map(str, gold)) if isinstance(gold, list | tuple) else str(gold)

    def options(self, doc: Doc) -> Options:
        """Return question, options and right options of a multiple-choice document."""
        return _options(
            self._task.doc_to_text(doc),
            self._task.doc_to_choice(doc),
            self._task.doc_to_target(doc),
        )

    def shots(self, doc: Doc) -> list[Options]:
        """Draw the few-shot examples of a multiple-choice document as lm-eval draws them."""
        count, how = self.config.num_fewshot or 0, self._task.fewshot_cfg
        if not count:
            return []
        own = doc if how.split == self.config.test_split else None
        return [
            _options(
                self._task.doc_to_text(shot, how.doc_to_text),
                self._task.doc_to_choice(shot, how.doc_to_choice),
                self._task.doc_to_target(shot, how.doc_to_target),
            )
            for shot in self._task.sampler.sample(n=count, eval_doc=own)
        ]

    def instructions(self, doc: Doc, system_prompt: str | None) -> str:
        """Return what stands before everything: the system prompt and the task's description."""
        from lm_eval.api.utils import maybe_delimit  # type: ignore[import-untyped] # it has no types

        description = self._task.resolve_field(doc, self.config.description) or ""
        return str(maybe_delimit(system_prompt, description, self.config.fewshot_delimiter))

    def continuations(self, doc: Doc, *, chat: bool) -> list[str]:
        """Return the texts whose likelihood lm-eval asks for, in the order of the options."""
        return [str(request.args[1]) for request in self._construct(doc, "", chat=chat)]

    def leave_out(self, metric: str) -> None:
        """Forget a metric of a multiple-choice task, and the requests that it alone needs."""
        for known in ("_metric_fn_list", "_aggregation_list", "_higher_is_better"):
            getattr(self._task, known, {}).pop(metric, None)

    def requests(self, doc: Doc) -> list[tuple[str, Mapping[str, Any]]]:
        """Return what the task asks of a model for one document: kinds and generation settings."""
        made = self._construct(doc, "")
        return [
            (str(r.request_type), r.args[1] if r.request_type == "generate_until" else {})
            for r in made
        ]

    def filtered(self, doc: Doc, text: str) -> dict[str, object]:
        """Return what every filter makes of a text; the task's repeats all say the same."""
        request = self._request(doc, "")
        request.resps = [text] * max(1, int(getattr(self.config, "repeats", 1) or 1))
        for ensemble in self._task._filters:  # noqa: SLF001 - there is no public name
            ensemble.apply([request])
        return dict(request.filtered_resps)

    def weighed(
        self, doc: Doc, likelihoods: Sequence[tuple[float, bool]]
    ) -> dict[str, dict[str, float]]:
        """Return, filter by filter, the metrics that are numbers, from the options' likelihoods.

        Args:
            likelihoods: Log-likelihood of every option, and whether it is the greedy text.
        """
        requests = self._construct(doc, "")
        for request, found in zip(requests, likelihoods, strict=True):
            request.resps = [found]
        for ensemble in self._task._filters:  # noqa: SLF001 - there is no public name
            ensemble.apply(requests)
        return {
            name: self._numbers(doc, [request.filtered_resps[name] for request in requests])
            for name in self.filters
        }

    def fallbacks(self, name: str) -> set[str]:
        """Return what a filter says when it finds nothing."""
        ensemble = next(e for e in self._task._filters if e.name == name)  # noqa: SLF001 - as above
        settings = [getattr(step, "keywords", {}) for step in ensemble.filters]
        named = {s["fallback"] for s in settings if isinstance(s.get("fallback"), str)}
        return named | {"[invalid]"}

    def scores(self, doc: Doc, filtered: object) -> dict[str, float]:
        """Return the metrics of one filtered answer that are numbers."""
        return self._numbers(doc, [filtered])

    def dump(self) -> dict[str, Json]:
        """Return the configuration as JSON, with the source of functions in their place."""
        config = self.config
        plain = config.to_dict(keep_callable=True) if hasattr(config, "to_dict") else {}
        dumped = _plain(plain)
        return dumped if isinstance(dumped, dict) else {}

    def fewshot_docs(self) -> list[Doc]:
        """Return the documents that few-shot examples are drawn from."""
        sampler = getattr(self._task, "sampler", None)
        return list(sampler.fewshot_docs()) if sampler is not None else []

    def _numbers(self, doc: Doc, results: list[object]) -> dict[str, float]:
        scores = self._task.process_results(doc, results)
        return {name: float(value) for name, value in scores.items() if _is_number(value)}

    def _context(self, doc: Doc, system_prompt: str | None, **options: Any) -> Any:
        return self._task.fewshot_context(
            doc,
            num_fewshot=self.config.num_fewshot or 0,
            system_instruction=system_prompt,
            apply_chat_template="chat_template" in options,
            gen_prefix=self._task.doc_to_prefix(doc),
            **options,
        )

    def _construct(self, doc: Doc, context: Any, *, chat: bool = False) -> list[Any]:
        made = self._task.construct_requests(
            doc=doc, ctx=context, metadata=(self.name, 0, self.config.repeats),
            apply_chat_template=chat, chat_template=None,
        )  # fmt: skip
        return made if isinstance(made, list) else [made]

    def _request(self, doc: Doc, context: Any) -> Any:
        (request,) = self._construct(doc, context)
        return request


def _loaded(path: Path) -> Any:
    from lm_eval.api.task import ConfigurableTask  # type: ignore[import-untyped] # it has no types
    from lm_eval.tasks import TaskManager  # type: ignore[import-untyped] # it has no types

    if original_of(path) is None:
        (task,) = TaskManager(include_defaults=False).load([str(path)])["tasks"].values()
        return task
    config = _config(path, resolve=True)
    config["metadata"] = {**config.get("metadata", {}), "config_source": str(path)}
    return ConfigurableTask(config=config)


def _config(path: Path, *, resolve: bool) -> dict[str, Any]:
    """Read a file with its includes, and with those of the task that it is built on."""
    from lm_eval.tasks._yaml_loader import load_yaml  # type: ignore[import-untyped] # it has no types

    config: dict[str, Any] = load_yaml(path, resolve_func=resolve)
    original = original_of(path) if config.pop(SOLVED, None) else None
    if original is None:
        return config
    inherited = _config(original, resolve=resolve)
    return {k: v for k, v in inherited.items() if k not in _GROUPS} | config


def _options(question: object, texts: Sequence[str], gold: object) -> Options:
    """Read gold as lm-eval reads it: indices or texts of options, one or several."""
    golds = gold if isinstance(gold, list | tuple) else [gold]
    places = [texts.index(g) if isinstance(g, str) and g in texts else g for g in golds]
    right = {int(g) for g in places if isinstance(g, int) and 0 <= g < len(texts)}
    return Options(str(question), tuple(map(str, texts)), tuple(sorted(right)))


def one_user_turn(turns: Turns, *, between: str) -> Turns:
    """Put all turns after a system prompt into one message of the user, as lm-eval does.

    Args:
        between: Stands between an example and what follows it.
    """
    from lm_eval.api.utils import Message, multiturn_to_singleturn

    ends = {"user": "\n", "assistant": between}
    shown = [Message(turn["role"], turn["content"], ends.get(turn["role"], "")) for turn in turns]
    made: Turns = multiturn_to_singleturn(shown)
    return made


def raw_config(path: Path) -> dict[str, Any]:
    """Return a task file with all that it inherits, without running any of its code."""
    return _config(path, resolve=False)


def silence() -> None:
    """Keep lm-eval, datasets and their kind from writing to the terminal."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")


def quicken() -> None:
    """Compile each prompt template once: lm-eval compiles it anew for every document."""
    from lm_eval import utils  # type: ignore[import-untyped] # it has no types

    utils.env.from_string = lru_cache(maxsize=256)(utils.env.from_string)


def preload() -> None:
    """Import what every task needs, which takes seconds; what is forked afterwards has it."""
    for name in ("lm_eval.api.metrics", "lm_eval.api.utils", "lm_eval.tasks"):
        import_module(name)


def build_index(root: Path) -> dict[str, IndexEntry]:
    """Read every task file below lm-eval's folder; takes seconds."""
    from lm_eval.tasks._index import Kind, TaskIndex  # type: ignore[import-untyped] # it has no types

    from evaluators.tasks.index import IndexEntry

    silence()
    kinds = {Kind.GROUP: "group", Kind.TAG: "tag"}
    made = {}
    for name, entry in TaskIndex.build([root]).items():
        config = entry.cfg or {}
        metadata = config.get("metadata")
        made[name] = IndexEntry(
            kind=kinds.get(entry.kind, "task"),  # type: ignore[arg-type] # the values are kinds
            path=entry.yaml_path.relative_to(root).as_posix() if entry.yaml_path else "",
            members=tuple(_members(entry.kind.name, config, entry.tags)),
            modes=modes_of(config) if entry.kind is Kind.TASK else (),
            summary=" ".join(
                str(config[k]) for k in ("dataset_path", "dataset_name") if config.get(k)
            ),
            version=str(metadata.get("version", "")) if isinstance(metadata, dict) else "",
        )
    return made


def _members(kind: str, config: Mapping[str, Any], tagged: Iterable[str]) -> list[str]:
    if kind == "TAG":
        return sorted(tagged)
    if kind != "GROUP":
        return []
    listed = config.get("task")
    named = [m if isinstance(m, str) else m.get("task") or m.get("group") for m in listed or ()]
    return [str(name) for name in named if name]


def _sequence(docs: Any) -> Sequence[Doc]:
    return docs if hasattr(docs, "__getitem__") and hasattr(docs, "__len__") else list(docs)


def _is_number(value: object) -> bool:
    """Tell a sample's score from the raw material of a corpus metric."""
    return isinstance(value, bool | int | float) or hasattr(value, "item")


def _plain(value: Any) -> Json:
    """Turn a configuration into JSON that is the same on every machine."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if callable(value):
        return _source(value)
    return _ADDRESS.sub("", str(value))


def _source(function: Callable[..., object]) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return _ADDRESS.sub("", getattr(function, "__qualname__", None) or repr(function))
