"""Ranks with ties over a whole board: 1 + the number of rows significantly better."""

from __future__ import annotations

from collections.abc import Mapping

from django.core.cache import cache
from django.db.models import Count, Max, QuerySet

from evaluators.metrics import Estimate, null, ranks
from leaderboard.boards.models import Entry

MISSING = null("not among the run's estimates")


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
        estimates = [Estimate.from_json(row[1]) if row[1] else MISSING for row in rows]
        found = dict(zip((row[0] for row in rows), ranks(estimates), strict=True))
        cache.set(key, found, 3600)
    return found
