"""When to stop drawing answers: the rules of Adaptive-Consistency and of early stopping."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Literal

from evaluators.answers import answer_key
from evaluators.metrics.sampling import stays_ahead

Stopper = Literal["beta", "dirichlet", "entropy", "majority"]
"""Rules that look at the counts of all answers so far."""

TOP_CLASSES = 5
"""Answers that the Dirichlet rule looks at, the most frequent ones."""

THRESHOLDS: Mapping[Stopper, float] = MappingProxyType(
    {"beta": 0.95, "dirichlet": 0.95, "entropy": 0.75, "majority": 0.8}
)
"""What the authors of Adaptive-Consistency set."""


def tally(ballots: Sequence[str | None]) -> list[int]:
    """Count equal answers, most frequent first; ballots without an answer do not count."""
    counts = Counter(answer_key(ballot) for ballot in ballots if ballot is not None)
    return [count for _, count in counts.most_common()]


def chance_ahead(counts: Sequence[int]) -> float:
    """Return the chance that the leading answer stays ahead of the runner-up alone (Beta).

    Args:
        counts: Most frequent first; none gives 0.
    """
    first, second = [*counts[:2], 0, 0][:2]
    return stays_ahead(first, second) if first else 0.0


def chance_first(counts: Sequence[int]) -> float:
    """Return the chance that the leading answer is the likeliest of the most frequent (Dirichlet).

    The authors draw from the Dirichlet distribution of counts + 1. Its components are Gamma
    variables over their sum: the chance that the leader's is the largest is an integral of
    polynomials times powers of exp(-x), solved here exactly instead.

    Args:
        counts: Most frequent first; those beyond the fifth are left out, none gives 0.
    """
    if not counts:
        return 0.0
    first, *others = [*counts, 0][: min(TOP_CLASSES, max(2, len(counts)))]
    # The others all lie below x with probability sum(terms[s](x) * exp(-s x)).
    terms: list[list[Fraction]] = [[Fraction(1)]]
    for other in others:
        above = [Fraction(-1, math.factorial(k)) for k in range(other + 1)]
        terms = _added([*terms, []], [[], *(_product(term, above) for term in terms)])
    return float(
        sum(
            coefficient * math.comb(first + power, power) * math.factorial(power)
            / Fraction(factors + 1) ** (first + power + 1)
            for factors, term in enumerate(terms)
            for power, coefficient in enumerate(term)
        )
    )  # fmt: skip


def _product(left: Sequence[Fraction], right: Sequence[Fraction]) -> list[Fraction]:
    product = [Fraction(0)] * (len(left) + len(right) - 1)
    for (i, a), (j, b) in itertools.product(enumerate(left), enumerate(right)):
        product[i + j] += a * b
    return product


def _added(left: Sequence[list[Fraction]], right: Sequence[list[Fraction]]) -> list[list[Fraction]]:
    return [
        [a + b for a, b in itertools.zip_longest(one, other, fillvalue=Fraction(0))]
        for one, other in zip(left, right, strict=True)
    ]


def spread(counts: Sequence[int]) -> float:
    """Return the answers' entropy over the largest that as many answers can have.

    As the authors compute it: where all agree, one more sample is taken to say something else.

    Args:
        counts: How often each answer was given; none gives 1.
    """
    if not counts:
        return 1.0
    shown = [*counts] if len(counts) > 1 else [*counts, 1]
    total = sum(shown)
    entropy = -math.fsum(count / total * math.log(count / total) for count in shown)
    return entropy / math.log(len(shown))


def majority(counts: Sequence[int]) -> float:
    """Return the share of the leading answer; 0 without any.

    Args:
        counts: Most frequent first.
    """
    return counts[0] / sum(counts) if counts else 0.0


_CONFIDENCE: Mapping[Stopper, Callable[[Sequence[int]], float]] = {
    "beta": chance_ahead,
    "dirichlet": chance_first,
    "entropy": spread,
    "majority": majority,
}


def confidence(stopper: Stopper, ballots: Sequence[str | None]) -> float:
    """Return what a rule computes from the ballots so far: a chance, a share or an entropy."""
    return _CONFIDENCE[stopper](tally(ballots))


def settled(stopper: Stopper, ballots: Sequence[str | None], *, threshold: float) -> bool:
    """Tell whether a rule stops the drawing after these ballots.

    Entropy and share never stop after one answer, with which there is nothing to compare.

    Args:
        threshold: Reached from below by chances and shares, from above by the entropy.
    """
    if stopper in {"entropy", "majority"} and sum(tally(ballots)) < 2:
        return False
    found = confidence(stopper, ballots)
    return found <= threshold if stopper == "entropy" else found >= threshold


def unanimous(window: Sequence[str | None]) -> bool:
    """Tell whether a window of ballots is one answer throughout; not if any holds none."""
    return len(tally(window)) == 1 and None not in window
