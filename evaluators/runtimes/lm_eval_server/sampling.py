"""Choosing the next token of every row, each by its own temperature, nucleus and seed."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from evaluators.model import Sampling


class Dice:
    """One row's way of drawing tokens; what it draws does not depend on its batch mates."""

    def __init__(self, sampling: Sampling, device: torch.device) -> None:
        self.temperature = sampling.temperature
        self.top_p = sampling.top_p
        self._generator: torch.Generator | None = None
        if self.temperature > 0:
            seed = sampling.seed if sampling.seed is not None else int.from_bytes(os.urandom(7))
            self._generator = torch.Generator(device).manual_seed(seed % 2**63)

    def noise(self, into: torch.Tensor) -> None:
        """Fill one row with exponential noise from this row's own stream."""
        into.exponential_(generator=self._generator)


def draw(scores: torch.Tensor, dice: Sequence[Dice]) -> torch.Tensor:
    """Return the next token of every row.

    Rows with a temperature draw by the Gumbel trick: a tiny difference in the scores, which other
    batch mates do cause, then changes a choice only where two tokens are almost tied.

    Args:
        scores: Unnormalised log-probabilities in float32, a row per die; may be overwritten.
    """
    chosen = scores.argmax(-1)
    sampled = [i for i, die in enumerate(dice) if die.temperature > 0]
    if not sampled:
        return chosen
    picked = scores[sampled]
    picked /= torch.tensor([[dice[i].temperature] for i in sampled], device=scores.device)
    _keep_nucleus(picked, [dice[i].top_p for i in sampled])
    noise = torch.empty_like(picked)
    for row, i in enumerate(sampled):
        dice[i].noise(noise[row])
    picked -= noise.clamp_(min=1e-30).log_()
    chosen[sampled] = picked.argmax(-1)
    return chosen


def _keep_nucleus(scores: torch.Tensor, masses: Sequence[float]) -> None:
    """Set what lies outside each row's nucleus to minus infinity, by transformers' own rule."""
    rows = [i for i, mass in enumerate(masses) if mass < 1]
    if not rows:
        return
    order, indices = scores[rows].sort(descending=False)
    tail = 1 - torch.tensor([[masses[i]] for i in rows], device=scores.device)
    outside = order.softmax(-1).cumsum(-1) <= tail
    outside[:, -1] = False
    scores[rows] = scores[rows].masked_fill(outside.scatter(1, indices, outside), -torch.inf)
