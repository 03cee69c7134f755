"""Tasks whose answer the model writes, as lm-eval's `generate_until` puts them."""

from __future__ import annotations

from typing import Any

from evaluators.errors import BadTask
from evaluators.model import Json
from evaluators.tasks.checking import choose_filter, choose_metric, usable_metrics
from evaluators.tasks.lm_eval import Doc, HarnessTask, Turns
from evaluators.tasks.spec import TaskSpec

_DEFAULT_MAX_TOKENS = 256
_TOKEN_LIMITS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_MOST_EXTRACTED = 10_000


class WrittenForm:
    """Prompts, filters and metrics exactly as lm-eval has them."""

    parts: tuple[Json, ...] = ()

    def __init__(self, spec: TaskSpec, task: HarnessTask) -> None:
        """Choose metric and filter.

        Raises:
            BadTask: The task has no such metric or filter.
        """
        self._spec, self._task = spec, task
        self.metric = choose_metric(spec, usable=usable_metrics(task), others=task.metrics)
        self.filters = task.filters
        self.filter = choose_filter(spec, self.filters)
        self._fallbacks = {name: task.fallbacks(name) for name in self.filters}

    def sampling(self) -> dict[str, Json]:
        """Read the generation settings the way lm-eval's model classes do."""
        ((_, settings),) = self._task.requests(self._task.docs[0])
        stop = settings.get("until") or []
        limits = [settings[key] for key in _TOKEN_LIMITS if settings.get(key) is not None]
        temperature = float(settings.get("temperature") or 0.0)
        if settings.get("do_sample") is False:
            temperature = 0.0
        if self._spec.temperature is not None:
            temperature = self._spec.temperature
        return {
            "max_tokens": self._spec.max_tokens or int([*limits, _DEFAULT_MAX_TOKENS][0]),
            "temperature": temperature,
            "top_p": float(settings.get("top_p") or 1.0),
            "stop": [s for s in ([stop] if isinstance(stop, str) else stop) if s],
        }

    def render(self, doc: Doc) -> dict[str, Any]:
        """Render a prompt.

        Raises:
            BadTask: The task's own code makes plain text where a chat is wanted.
        """
        question = {"role": "user", "content": self._task.question(doc)}
        return {"messages": prompt(self._spec, self._task, doc), "question": [question]}

    def gold(self, doc: Doc) -> str:
        """Return the expected answer for display."""
        return self._task.target(doc)

    def score(self, doc: Doc, answer: object) -> tuple[dict[str, float], dict[str, str | None]]:
        """Return every metric of every filter, and what every filter extracts."""
        filtered = self._task.filtered(doc, text_of(answer))
        scores = {
            f"{metric},{name}": value
            for name, found in filtered.items()
            for metric, value in self._task.scores(doc, found).items()
        }
        return scores, {k: _extracted(v, self._fallbacks[k]) for k, v in filtered.items()}

    def extract(self, doc: Doc, text: str) -> str | None:
        """Return what the primary filter takes the answer to be."""
        filtered = self._task.filtered(doc, clean(text))[self.filter]
        return _extracted(filtered, self._fallbacks[self.filter])


def prompt(spec: TaskSpec, task: HarnessTask, doc: Doc) -> Turns:
    """Return a prompt as messages; without a chat, one message with the text lm-eval would send.

    Raises:
        BadTask: The task's own code makes plain text where a chat is wanted.
    """
    if not spec.chat:
        return [{"role": "user", "content": task.text(doc, system_prompt=spec.system_prompt)}]
    shown = task.messages(
        doc, system_prompt=spec.system_prompt, multiturn=spec.fewshot_as_multiturn
    )
    if shown is None:
        reason = "makes plain text, not a chat; open it with chat off"
        raise BadTask(task=spec.name, reason=reason)
    return shown


def text_of(answer: object) -> str:
    """Return an answer's text; of the likelihoods of several choices, the likeliest choice's."""
    if isinstance(answer, str):
        return clean(answer)
    choices: Any = answer
    return clean(str(max(choices, key=lambda choice: float(choice["logprob"]))["text"]))


def clean(text: str) -> str:
    """Drop NUL and replace lone surrogates: neither can be stored, and graders may choke."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _extracted(filtered: object, fallbacks: set[str]) -> str | None:
    """Return a filter's result as text; None when it says that it found nothing."""
    while isinstance(filtered, list | tuple):
        if not filtered:
            return None
        filtered = filtered[0]
    text = "" if filtered is None else clean(str(filtered))[:_MOST_EXTRACTED]
    return None if not text.strip() or text in fallbacks else text
