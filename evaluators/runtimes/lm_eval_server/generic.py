"""Any other lm-eval model class: its own generate_until, one batch of equal settings at a time."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, cast

from evaluators.model import ChoiceLikelihood, Sampling
from evaluators.runtimes.lm_eval_server import lm as adapter
from evaluators.runtimes.lm_eval_server.hf import render
from evaluators.runtimes.lm_eval_server.likelihood import probe
from evaluators.runtimes.lm_eval_server.versions import versions
from evaluators.runtimes.server.batcher import Answered, Weighing, Work
from evaluators.runtimes.server.protocol import (
    Call,
    Facts,
    LikelihoodCall,
    Refused,
    Reply,
    Weighed,
    check_fit,
    check_length,
)

UNKNOWN_WINDOW = 2**31 - 1
"""Context window of a model that does not say; nothing is refused for its length then."""

_log = logging.getLogger(__name__)


class GenericBackend:
    """Batches through generate_until; it has no seeds, and counts tokens only if it can."""

    joins = False
    rows = 0
    """Always 0 between steps: a step is a whole batch."""

    def __init__(self, lm: Any, *, label: str, batch_size: int) -> None:
        self._lm = lm
        self._quiet = _accepts_quiet(lm.generate_until)
        # A fast tokenizer must not be used by two threads at once.
        self._tokenizing = threading.RLock()
        self._scales = TextScales(lm, self._count)
        capabilities = {"prefix", *(["chat"] if _can_chat(lm) else []), *probe(self._scales)}
        self.facts = Facts(
            label=label,
            context_window=int(getattr(lm, "max_length", None) or UNKNOWN_WINDOW),
            capabilities=frozenset(capabilities),
            batch_size=batch_size,
            has_chat_template="chat" in capabilities,
            dtype=str(getattr(getattr(lm, "model", None), "dtype", "")).removeprefix("torch.")
            or None,
            device=str(lm.device) if getattr(lm, "device", None) else None,
            versions=versions(),
            exact_usage=False,
        )

    def prepare(self, call: Call) -> Work:
        """Render as lm-eval does; count tokens with the model's tokenizer if it has one."""
        prompt = self._rendered(call)
        length = self._count(prompt)
        check_length(length or 1, call.sampling, self.facts.context_window)
        return Work(prompt, length or 0, call.sampling)

    def step(self, joining: Sequence[tuple[int, Work]]) -> Sequence[Answered]:
        """Generate for every group of rows with equal settings."""
        groups: dict[Sampling, list[tuple[int, Work]]] = {}
        for ticket, work in joining:
            groups.setdefault(work.sampling, []).append((ticket, work))
        return [done for rows in groups.values() for done in self._generate(rows)]

    def drop(self, tickets: AbstractSet[int]) -> None:
        """Do nothing: a batch of generate_until cannot be interrupted."""

    def clear(self) -> None:
        """Do nothing: nothing is kept between batches."""

    def prepare_weighing(self, call: LikelihoodCall) -> Weighing:
        """Render as lm-eval does."""
        return self._scales.prepare(call, self._rendered(call))

    def weigh(self, waiting: Sequence[Weighing]) -> Sequence[Weighed | Exception]:
        """Answer likelihood calls that have waited together."""
        with self._tokenizing:
            return self._scales.weigh(waiting)

    def _rendered(self, call: Call | LikelihoodCall) -> Any:
        if call.messages and "chat" not in self.facts.capabilities:
            raise Refused("the model has no chat template; give a prompt instead of messages")
        return render(self._lm, call)

    def _generate(self, rows: Sequence[tuple[int, Work]]) -> list[Answered]:
        settings = _settings(rows[0][1].sampling)
        requests = [
            adapter.request(work.prompt, {**settings, "until": [*settings["until"]]}, index)
            for index, (_, work) in enumerate(rows)
        ]
        try:
            with self._tokenizing:
                texts = self._lm.generate_until(requests, **self._quiet)
        except Exception as error:  # noqa: BLE001 - whatever a model class raises concerns these rows only
            _log.exception("generate_until failed")
            return [(ticket, error) for ticket, _ in rows]
        return [(t, self._reply(w, text)) for (t, w), text in zip(rows, texts, strict=True)]

    def _reply(self, work: Work, text: object) -> Reply | Exception:
        if not isinstance(text, str):
            return TypeError(f"generate_until answered {text!r} instead of a text")
        tokens = self._count(text)
        full = tokens is not None and tokens >= work.sampling.max_tokens
        return Reply(text, "length" if full else "stop", work.length or None, tokens)

    def _count(self, text: object) -> int | None:
        try:
            with self._tokenizing:
                return len(self._lm.tok_encode(text))
        except Exception:  # noqa: BLE001 - classes without a usable tokenizer fail in many ways
            return None


class TextScales:
    """Weighs through a class's own loglikelihood; counts tokens only if it can."""

    def __init__(self, lm: Any, count: Callable[[object], int | None]) -> None:
        self._lm = lm
        self._count = count
        self._quiet = _accepts_quiet(lm.loglikelihood)

    def prepare(self, call: LikelihoodCall, text: Any) -> Weighing:
        """Refuse what does not fit, which the class would cut on the left."""
        if call.labels:
            raise Refused("this class of model cannot be asked for the next token's labels")
        counts = [self._count(choice) or 0 for choice in call.choices]
        window = int(getattr(self._lm, "max_length", None) or UNKNOWN_WINDOW)
        prompt = (self._count(text) if text else 1) or 0
        check_fit(prompt, max(counts), window)
        return Weighing((text, call.choices, prompt, counts), len(call.choices))

    def weigh(self, waiting: Sequence[Weighing]) -> Sequence[Weighed | Exception]:
        """Answer all with one call of loglikelihood."""
        asked = [cast("_Asked", weighing.prompt) for weighing in waiting]
        pairs = [(text, choice) for text, choices, _, _ in asked for choice in choices]
        requests = [adapter.pair(text, choice, i) for i, (text, choice) in enumerate(pairs)]
        answers = iter(self._lm.loglikelihood(requests, **self._quiet))
        return [_weighed(call, answers) for call in asked]


_Asked = tuple[Any, tuple[str, ...], int, list[int]]
"""Rendered prompt, choices, and their tokens as far as they can be counted."""


def _weighed(asked: _Asked, answers: Iterator[tuple[float, bool]]) -> Weighed:
    _, choices, prompt, counts = asked
    found = []
    for choice, tokens in zip(choices, counts, strict=True):
        logprob, greedy = next(answers)
        found.append(ChoiceLikelihood(choice, float(logprob), tokens, bool(greedy)))
    return Weighed(tuple(found), prompt * len(choices) + sum(counts) if prompt else None)


def _settings(sampling: Sampling) -> dict[str, Any]:
    settings: dict[str, Any] = {"until": list(sampling.stop), "max_gen_toks": sampling.max_tokens}
    if sampling.temperature > 0:
        settings |= {
            "do_sample": True,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
    else:
        settings |= {"do_sample": False, "temperature": 0.0}
    return settings


def _can_chat(lm: Any) -> bool:
    """Try the chat template once: classes promise it and then want the network, or raise."""
    try:
        return bool(lm.apply_chat_template([{"role": "user", "content": "Hello"}]))
    except Exception as error:  # noqa: BLE001 - any failure means the same
        _log.info("No chat template: %s", error)
        return False


def _accepts_quiet(method: Callable[..., object]) -> dict[str, bool]:
    accepted = inspect.signature(method).parameters
    return {"disable_tqdm": True} if "disable_tqdm" in accepted else {}
