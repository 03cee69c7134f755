"""lm-eval's Hugging Face models: its loading, templates and tokens, our batching."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any, cast

import jinja2

from evaluators.model import Sampling
from evaluators.runtimes.lm_eval_server import lm as adapter
from evaluators.runtimes.lm_eval_server.decode import Decoder
from evaluators.runtimes.lm_eval_server.likelihood import TokenScales, probe
from evaluators.runtimes.lm_eval_server.prefixes import Prefixes
from evaluators.runtimes.lm_eval_server.versions import versions
from evaluators.runtimes.server.batcher import Answered, Weighing, Work
from evaluators.runtimes.server.protocol import (
    Call,
    Facts,
    LikelihoodCall,
    Refused,
    Weighed,
    check_length,
)

_log = logging.getLogger(__name__)


def is_decodable(lm: Any) -> bool:
    """Tell whether we may batch the model's rows ourselves."""
    if not adapter.is_plain_hf(lm):
        return False
    # Recurrent models keep their state elsewhere than in a key-value cache.
    return hasattr(lm.model, "generation_config") and not getattr(lm.model, "_is_stateful", False)


class HfBackend:
    """Rows through one Hugging Face model."""

    def __init__(self, lm: Any, *, label: str, batch_size: int) -> None:
        self._lm = lm
        self._decoder = Decoder(lm)
        self._scales = TokenScales(lm)
        template = lm.chat_template(chat_template=True) if lm.tokenizer.chat_template else None
        self.facts = Facts(
            label=label,
            context_window=int(lm.max_length),
            capabilities=frozenset(
                {"prefix", *(["chat"] if template else []), *probe(self._scales), *self._probe()}
            ),
            batch_size=batch_size,
            has_chat_template=bool(template),
            chat_template_sha256=hashlib.sha256(template.encode()).hexdigest()
            if template
            else None,
            dtype=str(lm.model.dtype).removeprefix("torch."),
            device=str(lm.device),
            parameters=lm.model.num_parameters(),
            versions=versions(),
        )

    @property
    def joins(self) -> bool:
        """Whether rows may join a batch that is running."""
        return self._decoder.joins

    @property
    def rows(self) -> int:
        """How many rows are in flight."""
        return self._decoder.rows

    def prepare(self, call: Call) -> Work:
        """Render and tokenise exactly as lm-eval does for one request."""
        text = render(self._lm, call)
        encoded, _ = self._lm.tok_batch_encode([text])
        tokens = [int(token) for token in encoded[0].tolist()]
        check_length(len(tokens), call.sampling, self.facts.context_window)
        return Work(tokens, len(tokens), call.sampling)

    def step(self, joining: Sequence[tuple[int, Work]]) -> Sequence[Answered]:
        """Take the new rows aboard and give every row a token."""
        rows = [(t, cast("list[int]", w.prompt), w.sampling) for t, w in joining]
        return list(self._decoder.step(rows))

    def drop(self, tickets: AbstractSet[int]) -> None:
        """Forget rows that nobody waits for."""
        self._decoder.drop(tickets)

    def clear(self) -> None:
        """Forget everything in flight."""
        self._decoder.clear()

    def _probe(self) -> frozenset[str]:
        """Generate a token, and return which log-probabilities came with it."""
        asked = Sampling(max_tokens=1, logprobs=2)
        tokens = self._lm.tok_encode("Hello")
        try:
            ((_, reply),) = self._decoder.step([(-1, tokens, asked)])
        except Exception as error:  # noqa: BLE001 - whatever it is, the token did not come
            _log.warning("No token can be generated: %s", error)
            return frozenset()
        finally:
            self._decoder.clear()
            if self._decoder.prefixes is not None:
                self._decoder.prefixes = Prefixes()
        (found,) = reply.logprobs
        told = {"token_logprobs": math.isfinite(found.logprob), "top_logprobs": len(found.top) == 2}
        return frozenset(name for name, works in told.items() if works)

    def prepare_weighing(self, call: LikelihoodCall) -> Weighing:
        """Render and tokenise exactly as lm-eval does."""
        return self._scales.prepare(call, render(self._lm, call))

    def weigh(self, waiting: Sequence[Weighing]) -> Sequence[Weighed | Exception]:
        """Answer likelihood calls that have waited together."""
        return self._scales.weigh(waiting)


def render(lm: Any, call: Call | LikelihoodCall) -> Any:
    """Return the prompt as lm-eval renders it; a last message of the assistant is left open."""
    if not call.messages:
        return call.prompt
    chat = [message.wire() for message in call.messages]
    if not getattr(getattr(lm, "tokenizer", None), "chat_template", True):
        raise Refused("the model has no chat template; use /v1/completions")
    try:
        return lm.apply_chat_template(chat, add_generation_prompt=not call.continues)
    except (jinja2.TemplateError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise Refused(f"the chat template does not take these messages: {reason}") from error
