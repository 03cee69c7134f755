"""How much several texts have in common: the scores that choose among open-ended generations."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from evaluators.model import TokenLogprob

Weights: TypeAlias = Mapping[str, float]
"""What a text holds, and how much each piece weighs."""

MOST_CELLS = 10**8
"""Characters of one text times those of the other, up to which edits are counted: half a second."""

_WORD = re.compile(r"\w+|[^\w\s]")


def words(text: str) -> list[str]:
    """Split a text into words and marks, letter case aside."""
    return _WORD.findall(text.casefold())


def presence(text: str, *, size: int = 1) -> Weights:
    """Weigh every run of `size` words that a text holds as 1, however often it stands there."""
    found = words(text)
    runs = (" ".join(found[i : i + size]) for i in range(len(found) - size + 1))
    return dict.fromkeys(runs, 1.0)


def mean_probabilities(tokens: Sequence[TokenLogprob]) -> Weights:
    """Weigh every token by its mean probability over the places where it stands."""
    places: dict[str, list[float]] = {}
    for token in tokens:
        places.setdefault(token.token, []).append(math.exp(token.logprob))
    return {token: math.fsum(each) / len(each) for token, each in places.items()}


def overlap(left: Weights, right: Weights, *, vocabulary: int) -> float:
    """Return the product of two texts' weights over the vocabulary's size (2307.06857).

    Of presence it is UCS, the unigram consistency score; of mean probabilities, WUCS.

    Args:
        vocabulary: How many different pieces all candidates hold together; at least 1.
    """
    shared = left.keys() & right.keys()
    return math.fsum(left[piece] * right[piece] for piece in shared) / vocabulary


def consistency(texts: Sequence[Weights]) -> list[float]:
    """Return every text's mean overlap with the others: the generalised self-consistency score.

    A single text has none and scores 0.
    """
    vocabulary = max(1, len(frozenset[str]().union(*(text.keys() for text in texts))))
    return [
        math.fsum(
            overlap(text, other, vocabulary=vocabulary)
            for index, other in enumerate(texts)
            if index != place
        )
        / max(1, len(texts) - 1)
        for place, text in enumerate(texts)
    ]


def corpus_counts(texts: Sequence[str]) -> list[float]:
    """Return the mean number of times that a text's words stand in all texts together.

    The released code of fine-grained self-consistency (2407.02056) calls this UCS. It is not the
    score of 2307.06857: it counts repetitions, in the text itself too, and compares no pairs.
    """
    split = [text.split() for text in texts]
    counts = Counter(word for each in split for word in each)
    return [math.fsum(counts[word] for word in each) / max(1, len(each)) for each in split]


def edit_ratio(left: str, right: str) -> float | None:
    """Return the edits that make one text the other, over the length of both (2409.12917).

    Levenshtein's distance in characters: 0 for equal texts, at most 1; None for two empty ones, and
    for two so long that counting would hold up everything else for seconds.
    """
    if (not left and not right) or len(left) * len(right) > MOST_CELLS:
        return None
    return _edits(left, right) / (len(left) + len(right))


def _edits(left: str, right: str) -> int:
    import numpy as np

    one, other = (
        np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        for text in (left, right)
    )
    places = np.arange(len(other) + 1)
    row = places
    for number, character in enumerate(one, start=1):
        replaced = row[:-1] + (other != character)
        row = np.concatenate(([number], np.minimum(replaced, row[1:] + 1)))
        row = np.minimum.accumulate(row - places) + places  # insertions
    return int(row[-1])
