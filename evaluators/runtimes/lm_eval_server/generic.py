"""Any other lm-eval model class: its own generate_until, one batch of equal settings at a time."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from evaluators.model import Sampling
from evaluators.runtimes.lm_eval_server import lm as adapter
from evaluators.runtimes.lm_eval_server.hf import render_chat
from evaluators.runtimes.lm_eval_server.versions import versions
from evaluators.runtimes.server.batcher import Answered, Work
from evaluators.runtimes.server.protocol import Call, Facts, Refused, Reply, check_length

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
        self._quiet = _accepts_quiet(lm)
        capabilities = {"chat", "prefix"} if _can_chat(lm) else {"prefix"}
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
        if call.messages and "chat" not in self.facts.capabilities:
            raise Refused("the model has no chat template; use /v1/completions")
        prompt = render_chat(self._lm, call) if call.messages else call.prompt
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

    def _generate(self, rows: Sequence[tuple[int, Work]]) -> list[Answered]:
        settings = _settings(rows[0][1].sampling)
        requests = [
            adapter.request(work.prompt, {**settings, "until": [*settings["until"]]}, index)
            for index, (_, work) in enumerate(rows)
        ]
        try:
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
            return len(self._lm.tok_encode(text))
        except Exception:  # noqa: BLE001 - classes without a usable tokenizer fail in many ways
            return None


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


def _accepts_quiet(lm: Any) -> dict[str, bool]:
    accepted = inspect.signature(lm.generate_until).parameters
    return {"disable_tqdm": True} if "disable_tqdm" in accepted else {}
