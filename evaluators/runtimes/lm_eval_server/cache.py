"""Surgery on key-value caches: take rows out of a batch, and let rows join it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch.nn.functional import pad
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

States: TypeAlias = Mapping[int, tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of one row by layer, each heads × positions × size."""


def can_join(cache: DynamicCache) -> bool:
    """Tell whether batches of different lengths can be merged: all layers are plain tensors."""
    return all(type(layer) is DynamicLayer for layer in cache.layers)


def can_shrink(cache: DynamicCache) -> bool:
    """Tell whether rows can be taken out."""
    return all(type(layer) in {DynamicLayer, DynamicSlidingWindowLayer} for layer in cache.layers)


def keep_rows(cache: DynamicCache, indices: torch.Tensor) -> None:
    """Keep only these rows."""
    for layer in _filled(cache):
        layer.batch_select_indices(indices)


def drop_columns(cache: DynamicCache, count: int) -> None:
    """Forget the leftmost positions, which are padding in every row."""
    for layer in _filled(cache):
        layer.keys = layer.keys[:, :, count:]
        layer.values = layer.values[:, :, count:]


def take_row(cache: DynamicCache, row: int, columns: torch.Tensor) -> States:
    """Copy what one row holds at these positions."""
    layers: list[Any] = cache.layers
    return {
        index: (layer.keys[row][:, columns], layer.values[row][:, columns])
        for index, layer in enumerate(layers)
        if layer.is_initialized
    }


def put_rows(cache: DynamicCache, rows: Sequence[tuple[States, int]]) -> None:
    """Fill an empty cache with the first positions of rows, padded on the left.

    Args:
        rows: What rows hold, and how many positions of each to use.
    """
    longest = max(count for _, count in rows)
    for index in rows[0][0]:
        keys, values = (
            torch.stack([_widen(states[index][part][:, :count], longest) for states, count in rows])
            for part in (0, 1)
        )
        cache.update(keys, values, index)


def join(cache: DynamicCache, other: DynamicCache) -> None:
    """Append the rows of the other cache, padding the shorter of the two on the left."""
    for layer, joining in zip(_filled(cache), _filled(other), strict=True):
        length = max(layer.keys.shape[2], joining.keys.shape[2])
        layer.keys = torch.cat([_widen(layer.keys, length), _widen(joining.keys, length)])
        layer.values = torch.cat([_widen(layer.values, length), _widen(joining.values, length)])


def join_masks(mask: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Append rows to an attention mask in the same way."""
    length = max(mask.shape[1], other.shape[1])
    return torch.cat([
        pad(mask, (length - mask.shape[1], 0)), pad(other, (length - other.shape[1], 0)),
    ])  # fmt: skip


def _widen(states: torch.Tensor, length: int) -> torch.Tensor:
    missing = length - states.shape[-2]
    return pad(states, (0, 0, missing, 0)) if missing else states


def _filled(cache: DynamicCache) -> list[Any]:
    """Return the layers that hold tensors; those that share another layer's keys hold none."""
    layers: list[Any] = cache.layers
    return [layer for layer in layers if layer.is_initialized]
