"""Multiple choice as lm-eval has it: the option whose text is the likeliest continuation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from evaluators.errors import BadTask
from evaluators.model import Json
from evaluators.tasks.checking import choose_filter, choose_metric, usable_metrics
from evaluators.tasks.lm_eval import Doc, HarnessTask
from evaluators.tasks.spec import TaskSpec
from evaluators.tasks.written import clean, prompt

_MUTUAL = "acc_mutual_info"
"""A metric that needs further requests: the options without the question."""


class WeighedForm:
    """Prompts, continuations, filters and metrics exactly as lm-eval has them."""

    parts: tuple[Json, ...] = ()

    def __init__(self, spec: TaskSpec, task: HarnessTask) -> None:
        """Choose metric and filter.

        Raises:
            BadTask: The task has no such metric or filter, or the metric needs more than the
                likelihoods of the options.
        """
        self._spec, self._task = spec, task
        if spec.metric == _MUTUAL:
            task_has = ", ".join(name for name in usable_metrics(task) if name != _MUTUAL)
            reason = (
                f"{_MUTUAL} needs the likelihoods of the options without their question, which "
                f"are not asked for; metrics that can be: {task_has or 'none'}"
            )
            raise BadTask(task=spec.name, reason=reason)
        task.leave_out(_MUTUAL)
        self.metric = choose_metric(spec, usable=usable_metrics(task), others=task.metrics)
        self.filters = task.filters
        self.filter = choose_filter(spec, self.filters)

    def sampling(self) -> dict[str, Json]:
        """Return settings of what a method may have written beside; answers are not written."""
        return {
            "max_tokens": self._spec.max_tokens or 256,
            "temperature": self._spec.temperature or 0.0,
            "top_p": 1.0,
            "stop": [],
        }

    def render(self, doc: Doc) -> dict[str, Any]:
        """Render a prompt with the continuations that lm-eval would weigh."""
        question = {"role": "user", "content": self._task.question(doc)}
        return {
            "messages": prompt(self._spec, self._task, doc),
            "question": [question],
            "choices": self._task.continuations(doc, chat=self._spec.chat),
        }

    def gold(self, doc: Doc) -> str:
        """Return the right options for display."""
        options = self._task.options(doc)
        return " | ".join(clean(options.texts[index]) for index in options.right)

    def score(self, doc: Doc, answer: object) -> tuple[dict[str, float], dict[str, str | None]]:
        """Return what lm-eval computes from the likelihoods; the likeliest option is extracted."""
        choices = _likelihoods(answer)
        likelihoods = [(float(c["logprob"]), bool(c["greedy"])) for c in choices]
        found = self._task.weighed(doc, likelihoods)
        scores = {f"{m},{name}": v for name, metrics in found.items() for m, v in metrics.items()}
        logprobs = [logprob for logprob, _ in likelihoods]
        options = self._task.options(doc).texts
        chosen = clean(options[logprobs.index(max(logprobs))])
        return scores, dict.fromkeys(self.filters, chosen)

    def extract(self, doc: Doc, text: str) -> str | None:
        """Return the option that the text is."""
        wanted = clean(text).strip()
        options = [clean(option) for option in self._task.options(doc).texts]
        return next((option for option in options if option.strip() == wanted), None)


def _likelihoods(answer: object) -> Sequence[Mapping[str, Any]]:
    if isinstance(answer, str):
        raise TypeError("the answer is a text; in this mode likelihoods of the choices are graded")
    return cast("Sequence[Mapping[str, Any]]", answer)
