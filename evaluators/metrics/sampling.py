"""Closed forms about many samples of one question: stopping rules, pass@k, best-of-k, votes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def pass_at_k(samples: int, right: int, k: int) -> float:
    """Return the chance that k of the samples, drawn without replacement, hold a right one.

    Raises:
        ValueError: There are fewer than k samples, or more right ones than samples.
    """
    if not (0 <= right <= samples and 1 <= k <= samples):
        msg = f"k = {k} of {samples} samples with {right} right"
        raise ValueError(msg)
    if samples - right < k:
        return 1.0
    # A product of factors near 1 instead of a quotient of numbers beyond floats.
    return 1.0 - math.prod(1.0 - k / i for i in range(samples - right + 1, samples + 1))


def best_of_k(right: Sequence[bool], k: int, *, scores: Sequence[float] | None = None) -> float:
    """Return the chance that the best-scored of k samples is right (V-STaR, 2402.06457).

    Args:
        right: Whether each sample is right; best first where there are no scores.
        k: How many of them are drawn.
        scores: The verifier's scores; samples of one score stand in every order equally often.

    Raises:
        ValueError: k is out of range, or scores and samples differ in number.
    """
    n = len(right)
    if not 1 <= k <= n:
        msg = f"k = {k} of {n} samples"
        raise ValueError(msg)
    ranked = _ranked([float(r) for r in right], scores)
    chances = (math.comb(n - i - 1, k - 1) * alpha for i, alpha in enumerate(ranked[: n - k + 1]))
    return math.fsum(chances) / math.comb(n, k)


def _ranked(values: Sequence[float], scores: Sequence[float] | None) -> list[float]:
    """Order values by score, best first; ties get the mean of their values."""
    if scores is None:
        return list(values)
    groups: dict[float, list[float]] = {}
    for value, score in zip(values, scores, strict=True):
        groups.setdefault(score, []).append(value)
    return [
        math.fsum(groups[score]) / len(groups[score])
        for score in sorted(groups, reverse=True)
        for _ in groups[score]
    ]


def stays_ahead(first: int, second: int) -> float:
    """Return the chance that the leading answer stays ahead (Adaptive-Consistency, 2305.11860).

    Args:
        first: Samples that gave the leading answer.
        second: Samples that gave the runner-up.
    """
    m = first + second + 1
    return sum(math.comb(m, k) for k in range(first + 1)) / (1 << m)


def expected_samples(shares: Sequence[float], *, window: int = 5, most: int = 40) -> float:
    """Return how many samples early stopping draws on average (ESC, 2401.10480).

    Args:
        shares: Probabilities of the answers.
        window: Samples that have to agree.
        most: Samples after which it stops anyway; a multiple of the window.
    """
    agree, windows = math.fsum(share**window for share in shares), most // window
    stopped = (agree * (1 - agree) ** i * (i + 1) for i in range(windows - 1))
    return window * (math.fsum(stopped) + (1 - agree) ** (windows - 1) * windows)


def borda(ranked: Sequence[str | None], power: float = 0.5) -> dict[str, float]:
    """Return each answer's Borda weight (self-certainty, 2502.18581).

    Args:
        ranked: Answers, most certain sample first; None where nothing could be extracted.
        power: 0 is a plurality vote; the larger, the more the first rank decides.
    """
    weights: dict[str, list[float]] = {}
    for rank, answer in enumerate(ranked):
        if answer is not None:
            weights.setdefault(answer, []).append((len(ranked) - rank) ** power)
    return {answer: math.fsum(each) for answer, each in weights.items()}


def winner(weights: Mapping[str, float]) -> str | None:
    """Return the heaviest answer, the first of equals; None where there is none."""
    return max(weights, key=lambda answer: weights[answer], default=None)


def self_certainty(distributions: Sequence[Sequence[float]]) -> float | None:
    """Return the mean divergence of the uniform from each token's distribution (2502.18581).

    0 for uniform tokens, larger where the model is surer; None without tokens.

    Raises:
        ValueError: A distribution has a probability of 0, of which there is no logarithm.
    """
    if not distributions:
        return None
    return math.fsum(_divergence(row) for row in distributions) / len(distributions)


def _divergence(row: Sequence[float]) -> float:
    return -math.fsum(math.log(len(row) * p) for p in row) / len(row)


def guesses_again(share: float, options: int, rounds: int) -> float:
    """Return the accuracy of guessing again, never the same option, where the first was wrong.

    A control: gating by gold alone lifts even random guesses.

    Args:
        share: Accuracy of the first answer.
        options: How many options there are.
        rounds: How many wrong guesses are taken back.
    """
    return share + (1 - share) * min(rounds, options - 1) / (options - 1)


def sharpened(share: float, temperature: float) -> float:
    """Return the chance of a decision of that probability at another temperature."""
    yes: float = share ** (1 / temperature)
    no: float = (1 - share) ** (1 / temperature)
    return yes / (yes + no)
