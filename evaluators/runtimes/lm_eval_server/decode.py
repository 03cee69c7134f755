"""Continuous batching over a Hugging Face model: rows of every kind share each forward pass."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from evaluators.model import Sampling
from evaluators.runtimes.lm_eval_server import cache as surgery
from evaluators.runtimes.lm_eval_server.logprobs import Witness
from evaluators.runtimes.lm_eval_server.prefixes import Kept, Prefixes
from evaluators.runtimes.lm_eval_server.rows import Processors, Row, TextRules
from evaluators.runtimes.lm_eval_server.sampling import Dice, draw
from evaluators.runtimes.server.protocol import Reply

_PREFILL_TOKENS = 16_384
"""Most tokens, padding included, of one prefill: bounds the memory that long prompts take."""


_PADDING = {"cpu": 48}
"""Tokens of padding that cost as much as one more forward pass, by kind of device."""

_PADDING_ELSEWHERE = 1024
"""The same on accelerators, which many small passes hold up more than padding does."""


@dataclass(frozen=True, slots=True)
class _New:
    """A row that is about to join."""

    ticket: int
    prompt: list[int]
    sampling: Sampling
    kept: Kept | None = None
    """The cache of the chat that it goes on from."""
    shared: int = 0
    """How many tokens of the prompt that cache holds."""

    @property
    def missing(self) -> int:
        """Tokens of the prompt that have to be computed."""
        return len(self.prompt) - self.shared


class Decoder:
    """The rows in flight and their cache."""

    def __init__(self, lm: Any) -> None:
        self._lm = lm
        self._model = lm.model
        self._device = torch.device(lm.device)
        self._rules = TextRules(lm)
        self._processors = Processors(lm.model, self._device)
        self._witness = Witness(copy.deepcopy(lm.tokenizer))
        accepted = _forward_parameters(lm.model)
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        self._positions = "position_ids" in accepted
        self._padding = _PADDING.get(self._device.type, _PADDING_ELSEWHERE)
        probe = DynamicCache(config=lm.model.config)
        self.joins = self._positions and surgery.can_join(probe)
        self._shrinks = self._positions and surgery.can_shrink(probe)
        # Splitting a computation changes its last bits. In float32 that is as little as batch mates
        # do; in half precision it may change texts. Accelerators have no memory to spare for it.
        keeps = self.joins and self._device.type == "cpu" and lm.model.dtype == torch.float32
        self.prefixes = Prefixes() if keeps else None
        self.prefilled = 0
        """Tokens of prompts that were computed, for those who measure."""
        self.clear()

    def clear(self) -> None:
        """Forget everything in flight."""
        self._waiting: list[list[_New]] = []
        self._end_batch()

    def _end_batch(self) -> None:
        self._rows: list[Row] = []
        self._cache: DynamicCache | None = None
        self._mask = torch.empty((0, 0), dtype=torch.long, device=self._device)
        self._last = torch.empty((0, 1), dtype=torch.long, device=self._device)

    @property
    def rows(self) -> int:
        """How many rows are in flight."""
        return len(self._rows) + sum(map(len, self._waiting))

    def drop(self, tickets: AbstractSet[int]) -> None:
        """Let rows that nobody waits for end here; they leave with the next step."""
        for row in self._rows:
            row.stopped = row.stopped or row.ticket in tickets
        kept = [[new for new in group if new.ticket not in tickets] for group in self._waiting]
        self._waiting = [group for group in kept if group]

    @torch.inference_mode()
    def step(self, joining: Sequence[tuple[int, list[int], Sampling]]) -> list[tuple[int, Reply]]:
        """Prefill the new rows, give every row a token, and return those that are finished.

        Args:
            joining: Ticket, prompt and sampling of every new row.
        """
        done = self._leave()
        arrived = [self._arrive(*new) for new in joining]
        # Apart, so that first turns are computed as if nothing were kept.
        for continuing in (False, True):
            group = [new for new in arrived if bool(new.shared) is continuing]
            self._waiting += _groups(group, padding=self._padding)
        # A cache that cannot be joined takes its groups one after the other.
        while self._waiting and (self.joins or not self._rows):
            self._prefill(self._waiting.pop(0))
        done += self._leave()
        if self._rows:
            self._decode()
            done += self._leave()
        return done

    def _arrive(self, ticket: int, prompt: list[int], sampling: Sampling) -> _New:
        found = self.prefixes.longest(prompt) if self.prefixes else None
        return _New(ticket, prompt, sampling, *(found or ()))

    def _start(self, new: _New) -> Row:
        dice = Dice(new.sampling, self._device)
        row = self._rules.row(new.ticket, new.prompt, new.sampling, dice=dice)
        self._processors.attach(row)
        return row

    def _prefill(self, group: list[_New]) -> None:
        rows = [self._start(new) for new in group]
        behind = max(new.shared for new in group)
        ahead = max(new.missing for new in group)
        ids = torch.zeros((len(group), ahead), dtype=torch.long)
        mask = torch.zeros((len(group), behind + ahead), dtype=torch.long)
        for index, new in enumerate(group):
            ids[index, ahead - new.missing :] = torch.tensor(new.prompt[new.shared :])
            mask[index, behind - new.shared : behind] = 1
            mask[index, behind + ahead - new.missing :] = 1
        self.prefilled += sum(new.missing for new in group)
        mask = mask.to(self._device)
        cache = DynamicCache(config=self._model.config)
        if behind:
            surgery.put_rows(cache, [(new.kept.states, new.shared) for new in group if new.kept])
        scores = self._forward(ids.to(self._device), mask, cache)
        last = self._choose(rows, scores)
        if self._cache is None:
            self._rows, self._cache, self._mask, self._last = rows, cache, mask, last
            return
        surgery.join(self._cache, cache)
        self._rows += rows
        self._mask = surgery.join_masks(self._mask, mask)
        self._last = torch.cat([self._last, last])

    def _decode(self) -> None:
        assert self._cache is not None  # noqa: S101 - rows in flight have a cache
        ones = torch.ones((len(self._rows), 1), dtype=torch.long, device=self._device)
        self._mask = torch.cat([self._mask, ones], dim=1)
        scores = self._forward(self._last, self._mask, self._cache)
        self._last = self._choose(self._rows, scores)

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, cache: DynamicCache) -> torch.Tensor:
        """Return the float32 scores of the next token of every row."""
        extra: dict[str, Any] = dict(self._last_only)
        if self._positions:
            positions = (mask.cumsum(-1) - 1).clamp_(min=0)
            extra["position_ids"] = positions[:, -ids.shape[1] :]
        mixed = self._lm.mixed_precision_dtype
        with torch.autocast(self._device.type, dtype=mixed, enabled=mixed is not None):
            output = self._model(
                input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **extra
            )
        scores: torch.Tensor = output.logits[:, -1].to(
            copy=True, dtype=torch.float32, device=self._device
        )
        return scores

    def _choose(self, rows: Sequence[Row], scores: torch.Tensor) -> torch.Tensor:
        """Append one token to every row that still wants one; return the column of tokens."""
        seen = self._witness.look(rows, scores)
        scores = self._processors.apply(rows, scores)
        chosen = draw(scores, [row.dice for row in rows])
        tokens = chosen.tolist()
        self._witness.note(rows, tokens, seen)
        wanting = [
            (row, token) for row, token in zip(rows, tokens, strict=True) if not row.finished
        ]
        self._rules.append([row for row, _ in wanting], [token for _, token in wanting])
        return chosen[:, None]

    def _leave(self) -> list[tuple[int, Reply]]:
        """Take the finished rows out and return their replies."""
        done = [row for row in self._rows if row.finished]
        if not done:
            return []
        self._keep()
        if len(done) == len(self._rows):
            self._end_batch()
        elif self._shrinks:
            self._shrink()
        else:
            return []  # a batch that cannot shrink is answered as a whole
        return [(row.ticket, self._rules.reply(row)) for row in done]

    def _keep(self) -> None:
        """Keep the caches of finished rows: their chats may go on."""
        if not self.prefixes or self._cache is None:
            return
        for index, row in enumerate(self._rows):
            if row.finished:
                columns = self._mask[index].nonzero()[:, 0]
                states = surgery.take_row(self._cache, index, columns)
                self.prefixes.keep(row.prompt, row.tokens, states)

    def _shrink(self) -> None:
        assert self._cache is not None  # noqa: S101 - rows in flight have a cache
        kept = [index for index, row in enumerate(self._rows) if not row.finished]
        indices = torch.tensor(kept, device=self._device)
        self._rows = [self._rows[index] for index in kept]
        surgery.keep_rows(self._cache, indices)
        self._mask, self._last = self._mask[indices], self._last[indices]
        padding = int(self._mask.argmax(1).min())
        if padding and self.joins:
            surgery.drop_columns(self._cache, padding)
            self._mask = self._mask[:, padding:]


def _forward_parameters(model: Any) -> AbstractSet[str]:
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inspect.signature(base.forward).parameters.keys()


def _groups(joining: Sequence[_New], *, padding: int) -> Iterator[list[_New]]:
    """Yield rows of like length together: within a prefill's memory, and with little padding.

    Args:
        padding: Tokens of padding that cost as much as a forward pass of their own.
    """
    group: list[_New] = []
    for new in sorted(joining, key=lambda new: new.missing):
        added = len(group) * (new.missing - group[-1].missing) if group else 0
        longest = max(len(row.prompt) for row in (*group, new))
        if group and (added > padding or longest * (len(group) + 1) > _PREFILL_TOKENS):
            yield group
            group = []
        group.append(new)
    if group:
        yield group
