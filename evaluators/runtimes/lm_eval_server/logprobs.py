"""Log-probabilities of generated tokens, by the model's own scores before anything changes them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch

from evaluators.model import TokenLogprob
from evaluators.runtimes.lm_eval_server.rows import Row


class Witness:
    """Notes how likely chosen tokens were: before penalties, temperature and nucleus.

    That is what OpenAI and vLLM report unless told otherwise: what the model thought of a token,
    not how likely the sampling made it.
    """

    def __init__(self, tokenizer: Any) -> None:
        @lru_cache(maxsize=65_536)
        def text_of(token: int) -> str:
            return str(tokenizer.decode([token]))

        self._text = text_of

    def look(self, rows: Sequence[Row], scores: torch.Tensor) -> dict[int, torch.Tensor]:
        """Return the log-probabilities of the rows that want them, by place in the batch."""
        wanted = [
            place
            for place, row in enumerate(rows)
            if row.sampling.logprobs is not None and not row.finished
        ]
        if not wanted:
            return {}
        return dict(zip(wanted, scores[wanted].log_softmax(-1), strict=True))

    def note(
        self, rows: Sequence[Row], chosen: Sequence[int], seen: dict[int, torch.Tensor]
    ) -> None:
        """Give the rows that were looked at what is to be told of their new token."""
        for place, logprobs in seen.items():
            row, token = rows[place], chosen[place]
            values, tokens = logprobs.topk(row.sampling.logprobs or 0)
            top = zip(map(self._text, tokens.tolist()), values.tolist(), strict=True)
            own = float(logprobs[token])
            row.logprobs.append(TokenLogprob(self._text(token), own, tuple(top)))
