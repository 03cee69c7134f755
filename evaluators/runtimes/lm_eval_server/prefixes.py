"""Key-value caches of finished rows, kept for the chats that go on from them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from evaluators.runtimes.lm_eval_server.cache import States

KEPT_BYTES = 1 << 30
"""Memory that kept caches may take; the longest unused go first."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What the model made of a prompt and of its own answer to it."""

    tokens: tuple[int, ...]
    """The prompt, and the answer without its last token, which was never fed."""
    prompt: int
    """How many of them are the prompt."""
    states: States
    bytes: int

    def shared(self, prompt: Sequence[int]) -> int:
        """Return how many tokens the prompt begins with that are kept; the last must be fed."""
        if tuple(prompt[: self.prompt]) != self.tokens[: self.prompt]:
            return 0
        pairs = zip(self.tokens, prompt[:-1], strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


class Prefixes:
    """The kept caches.

    Only a prompt that holds the whole earlier prompt takes one over: a later turn of the same chat.
    First turns, which results are compared on, are computed as if nothing were kept.
    """

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self._limit = limit
        self._kept: OrderedDict[tuple[int, ...], Kept] = OrderedDict()
        self._bytes = 0

    def keep(self, prompt: Sequence[int], answer: Sequence[int], states: States) -> None:
        """Keep the cache of a finished row."""
        tokens = (*prompt, *answer[:-1])
        size = sum(part.nbytes for pair in states.values() for part in pair)
        if tokens in self._kept or size > self._limit:
            return
        self._kept[tokens] = Kept(tokens, len(prompt), states, size)
        self._bytes += size
        while self._bytes > self._limit:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.bytes

    def longest(self, prompt: Sequence[int]) -> tuple[Kept, int] | None:
        """Return the kept cache that most of the prompt begins with, and how much that is."""
        found = max(
            ((kept.shared(prompt), kept) for kept in self._kept.values()),
            key=lambda pair: pair[0],
            default=(0, None),
        )
        shared, kept = found
        if kept is None or not shared:
            return None
        self._kept.move_to_end(kept.tokens)
        return kept, shared
