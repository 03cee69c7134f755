"""Log-probabilities of generated tokens, by the model's own scores before anything changes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from evaluators.model import TokenLogprob
from evaluators.runtimes.lm_eval_server.rows import Row


@dataclass(frozen=True, slots=True)
class Seen:
    """What the model thought of every token before one was chosen, for the rows that want it."""

    places: list[int]
    """Where these rows stand in the batch."""
    logprobs: torch.Tensor
    """A row for each."""


NOTHING = Seen([], torch.empty((0, 0)))


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

    def look(self, rows: Sequence[Row], scores: torch.Tensor) -> Seen:
        """Return the log-probabilities of the rows that want them."""
        places = [
            place
            for place, row in enumerate(rows)
            if row.sampling.logprobs is not None and not row.finished
        ]
        return Seen(places, scores[places].log_softmax(-1)) if places else NOTHING

    def note(self, rows: Sequence[Row], chosen: Sequence[int], seen: Seen) -> None:
        """Give the rows that were looked at what is to be told of their new token."""
        if not seen.places:
            return
        tokens = [chosen[place] for place in seen.places]
        column = torch.tensor(tokens, device=seen.logprobs.device)[:, None]
        own = seen.logprobs.gather(1, column)[:, 0].tolist()  # once for all: devices wait for this
        for index, (place, token) in enumerate(zip(seen.places, tokens, strict=True)):
            row = rows[place]
            top = self._likeliest(seen.logprobs[index], row.sampling.logprobs or 0)
            row.logprobs.append(TokenLogprob(self._text(token), own[index], top))

    def _likeliest(self, logprobs: torch.Tensor, count: int) -> tuple[tuple[str, float], ...]:
        if not count:
            return ()
        values, tokens = logprobs.topk(count)
        return tuple(zip(map(self._text, tokens.tolist()), values.tolist(), strict=True))
