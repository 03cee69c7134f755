"""One sequence in the making: when it ends, and what text it is worth by lm-eval's own rules."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from evaluators.model import Sampling, TokenLogprob
from evaluators.runtimes.lm_eval_server import lm as adapter
from evaluators.runtimes.lm_eval_server.sampling import Dice
from evaluators.runtimes.server.protocol import Reply

_SLACK = 2
"""Tokens beyond a stop string's own that are looked at, as in lm-eval: texts split in many ways."""


@dataclass(slots=True)
class Row:
    """A sequence that is being generated."""

    ticket: int
    prompt: list[int]
    sampling: Sampling
    dice: Dice
    until: list[str]
    """Stop strings, the end-of-sequence token's text included."""
    lookback: int
    """Tokens at the end that may hold a stop string."""
    thinking: bool
    """Stop strings do not count until the thinking has ended."""
    processors: Any = None
    """The model's own changes to the scores, such as a repetition penalty."""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    """One entry per token, where the sampling asks for them."""
    stopped: bool = False
    """Ended by a stop string or the end-of-sequence token."""

    @property
    def finished(self) -> bool:
        """Whether nothing more is to be generated."""
        return self.stopped or len(self.tokens) >= self.sampling.max_tokens


class TextRules:
    """Where a model's sequences end, and how tokens become the text that lm-eval would grade."""

    def __init__(self, lm: Any) -> None:
        # A copy, because a fast tokenizer must not be used by two threads at once.
        self._tokenizer = copy.deepcopy(lm.tokenizer)
        self._think_end: str | int | None = lm.think_end_token
        self._eos_text: str = lm.tok_decode(lm.eot_token_id, skip_special_tokens=False)
        configured = lm.model.generation_config.eos_token_id
        listed = configured if isinstance(configured, list) else [configured]
        self._eos = {token for token in [*listed, lm.eot_token_id] if token is not None}

    def row(self, ticket: int, prompt: list[int], sampling: Sampling, *, dice: Dice) -> Row:
        """Start a sequence."""
        until = adapter.with_eos(sampling.stop, self._eos_text)
        sought = [*until, self._think_end] if isinstance(self._think_end, str) else until
        longest = max(len(self._tokenizer.encode(s, add_special_tokens=False)) for s in sought)
        thinking = self._think_end is not None
        return Row(
            ticket, prompt, sampling, dice, until, lookback=longest + _SLACK, thinking=thinking
        )

    def append(self, rows: Sequence[Row], tokens: Sequence[int]) -> None:
        """Give every row its next token and mark those that end with it."""
        watched = []
        for row, token in zip(rows, tokens, strict=True):
            row.tokens.append(token)
            row.stopped = token in self._eos
            row.thinking = row.thinking and token != self._think_end
            # The end-of-sequence text alone needs no search: its token has just been looked at.
            if not row.stopped and (row.sampling.stop or row.thinking):
                watched.append(row)
        if watched:
            tails = self._tokenizer.batch_decode([row.tokens[-row.lookback :] for row in watched])
            for row, tail in zip(watched, tails, strict=True):
                self._look(row, tail)

    def _look(self, row: Row, tail: str) -> None:
        if row.thinking:
            row.thinking = not (isinstance(self._think_end, str) and self._think_end in tail)
        else:
            row.stopped = any(stop in tail for stop in row.until)

    def reply(self, row: Row) -> Reply:
        """Return the text as HFLM.generate_until makes it, with exact counts."""
        tokens = row.tokens
        if isinstance(self._think_end, int) and self._think_end in tokens:
            tokens = tokens[len(tokens) - tokens[::-1].index(self._think_end) :]
        text = self._tokenizer.decode(tokens, skip_special_tokens=True)
        if isinstance(self._think_end, int):
            text = text.lstrip()
        marker = self._think_end if isinstance(self._think_end, str) else None
        whole = adapter.trim(text, stop=None, think_end=marker)
        text = adapter.trim(whole, stop=row.until, think_end=None)
        stopped = row.stopped or text != whole
        return Reply(
            text,
            "stop" if stopped else "length",
            len(row.prompt),
            len(row.tokens),
            tuple(row.logprobs),
        )


class Processors:
    """The model's own processors of scores, as its generation configuration asks for them."""

    def __init__(self, model: Any, device: torch.device) -> None:
        self._model = model
        self._device = device
        # Temperature and nucleus come with the request, so the greedy configuration is the base.
        self._config, _ = model._prepare_generation_config(None, do_sample=False)  # noqa: SLF001 - the only way to parity
        model._prepare_special_tokens(self._config, True, device=device)  # noqa: SLF001 - the only way to parity
        self._needed = bool(self._build(prompt=2, total=4))

    def attach(self, row: Row) -> None:
        """Give the row its own processors if the model wants any."""
        if self._needed:
            prompt = len(row.prompt)
            row.processors = self._build(prompt=prompt, total=prompt + row.sampling.max_tokens)

    def apply(self, rows: Sequence[Row], scores: torch.Tensor) -> torch.Tensor:
        """Let every row's processors change its scores."""
        if not self._needed:
            return scores
        changed = []
        for index, row in enumerate(rows):
            text = torch.tensor([row.prompt + row.tokens], device=self._device)
            changed.append(row.processors(text, scores[index : index + 1]))
        return torch.cat(changed)

    def _build(self, *, prompt: int, total: int) -> Any:
        config = copy.copy(self._config)
        config.max_length = total
        mask = torch.ones((1, prompt), dtype=torch.long, device=self._device)
        return self._model._get_logits_processor(  # noqa: SLF001 - the only way to parity
            config,
            input_ids_seq_length=prompt,
            device=self._device,
            model_kwargs={"attention_mask": mask},
        )
