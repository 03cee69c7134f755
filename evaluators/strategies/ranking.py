"""Choosing one of several replies by scores: orders of showing, marks, token scores, the best."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from evaluators.context import Context
from evaluators.model import Json, Reply, TokenLogprob

TokenScore = Literal["mean", "min", "product"]
"""How the probabilities of several tokens make one score."""

_MARK = re.compile(r"\bscore\W{0,6}?([-−]?\d{1,3}(?:\.\d{1,3})?)(?![\d.]*\d)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of several replies was taken, and by what."""

    index: int
    """Of the reply taken."""
    scores: tuple[float | None, ...]
    """In the order of the replies; None where there was none to be read."""
    valid: int
    """Replies that held an answer."""
    tied: bool
    """Another answering reply scored as high; the one seen first was taken."""

    @property
    def facts(self) -> dict[str, Json]:
        """Return the choice as facts of an outcome."""
        return {
            "chosen": self.index,
            "scores": list(self.scores),
            "valid": self.valid,
            "tied": self.tied,
        }


def shuffled(ctx: Context, count: int) -> list[int]:
    """Return indices in the order in which candidates are shown, against favoured places.

    Only the sample's place decides it: the same run shows the same order again.
    """
    order = [*range(count)]
    ctx.random("order of candidates").shuffle(order)
    return order


def read_mark(text: str, *, most: float) -> float | None:
    """Return the last `Score: N` with N from 0 to `most`; None if there is none."""
    found = _MARK.findall(text)
    mark = float(found[-1].replace("−", "-")) if found else math.inf
    return mark if 0 <= mark <= most else None


def best(scores: Sequence[float | None], *, valid: Sequence[bool]) -> int:
    """Return the index of the highest score, the first of equals.

    Replies without an answer rank below all that have one, whatever their score, and replies
    without a score below those that have one.
    """
    return max(range(len(scores)), key=lambda index: _rank(scores[index], valid=valid[index]))


def _rank(score: float | None, *, valid: bool) -> tuple[bool, bool, float]:
    return valid, score is not None, score or 0.0


async def choose(
    ctx: Context, replies: Sequence[Reply], scores: Sequence[float | None]
) -> tuple[Reply, Choice]:
    """Take the reply that scores highest among those with an answer, and write the choice down."""
    valid = [await ctx.extract(reply) is not None for reply in replies]
    index = best(scores, valid=valid)
    ranks = [_rank(score, valid=held) for score, held in zip(scores, valid, strict=True)]
    tied = ranks.count(ranks[index]) > 1
    ctx.record("select", replies[index].text, parents=replies, chosen=index, scores=list(scores))
    return replies[index], Choice(index, tuple(scores), sum(valid), tied)


def _mean(logprobs: Sequence[float]) -> float:
    return math.fsum(map(math.exp, logprobs)) / len(logprobs)


_BY: Mapping[TokenScore, Callable[[Sequence[float]], float]] = MappingProxyType({
    "mean": _mean,
    "min": lambda logprobs: math.exp(min(logprobs)),
    "product": lambda logprobs: math.exp(math.fsum(logprobs) / len(logprobs)),
})  # fmt: skip


def token_score(tokens: Sequence[TokenLogprob], by: TokenScore) -> float | None:
    """Return the tokens' mean or least probability, or their product's geometric mean.

    None without tokens.
    """
    return _BY[by]([token.logprob for token in tokens]) if tokens else None


def tokens_of(tokens: Sequence[TokenLogprob], part: str | None) -> Sequence[TokenLogprob]:
    """Return the tokens that wrote the last standing of a part of their text; all if it has none.

    Args:
        part: Such as the extracted answer; not inside a longer word or number.
    """
    text = "".join(token.token for token in tokens)
    whole = rf"(?<!\w){re.escape(part)}(?!\w)" if part else r"(?!)"
    places = [match.span() for match in re.finditer(whole, text)]
    if not places:
        return tokens
    start, end = places[-1]
    kept, position = [], 0
    for token in tokens:
        position, before = position + len(token.token), position
        if before < end and position > start:
            kept.append(token)
    return kept
