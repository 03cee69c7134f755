"""Ranks with ties over a whole board: 1 + the number of rows significantly better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from django.core.cache import cache
from django.db.models import Count, Max, QuerySet

from leaderboard.boards.models import Entry

Bounds = tuple[float | None, float | None, float | None]
"""Value and the ends of its interval; None where there is none."""


def ranks_of(bounds: Sequence[Bounds]) -> list[int | None]:
    """Rank rows as `evaluators.metrics.ranks` does, a thousand of them in milliseconds.

    One row beats another when their difference exceeds the reach of both intervals, added in
    squares. A row without value or interval has no rank.
    """
    known = [index for index, row in enumerate(bounds) if None not in row]
    table = np.array([bounds[i] for i in known], dtype=float).reshape(-1, 3)
    value, down, up = table[:, 0], table[:, 0] - table[:, 1], table[:, 2] - table[:, 0]
    lead = value[:, None] - value[None, :]
    beats = lead - np.sqrt(down[:, None] ** 2 + up[None, :] ** 2) > 0
    ranks: list[int | None] = [None] * len(bounds)
    for index, better in zip(known, beats.sum(axis=0), strict=True):
        ranks[index] = 1 + int(better)
    return ranks


def board_ranks(name: str, entries: QuerySet[Entry]) -> Mapping[int, int | None]:
    """Return the rank of every entry of a board by its last accuracy, whatever the filters.

    Kept in the process's cache until a row of the board is added, refreshed or removed.

    Args:
        name: Names the board among all boards.
    """
    plain = entries.order_by()
    state = plain.aggregate(n=Count("id"), newest=Max("id"), at=Max("refreshed_at"))
    key = f"ranks:{name}:{state['n']}:{state['newest']}:{state['at'] and state['at'].timestamp()}"
    found: Mapping[int, int | None] | None = cache.get(key)
    if found is None:
        rows = list(plain.values_list("id", "estimates__acc@last"))
        found = dict(
            zip((row[0] for row in rows), ranks_of([_bounds(row[1]) for row in rows]), strict=True)
        )
        cache.set(key, found, 3600)
    return found


def _bounds(estimate: object) -> Bounds:
    if not isinstance(estimate, dict):
        return None, None, None
    value, low, high = (estimate.get(key) for key in ("value", "low", "high"))
    return value, low, high
