"""Which runs need the keys of endpoints, and when a key is no longer needed by any."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db.models import Exists, OuterRef, Q, QuerySet

from leaderboard.accounts.models import User
from leaderboard.catalog.models import EndpointKey
from leaderboard.runs.models import Run
from leaderboard.runs.models.work import TERMINAL
from leaderboard.runs.services.clock import ClockTimestamp

log = logging.getLogger(__name__)

KEPT = timedelta(days=7)
"""How long a key is kept after the last run that needed it."""


def keys_of(user: User) -> list[tuple[EndpointKey, int]]:
    """Return a user's keys, each with the number of unfinished runs that need it."""
    keys = EndpointKey.objects.filter(user=user)
    return [(key, _unfinished().filter(_needs(key.pk)).count()) for key in keys]


def expire_keys() -> int:
    """Delete the keys that no run has needed for a week; return how many."""
    since = ClockTimestamp() - KEPT
    needing = Run.objects.filter(_needs(OuterRef("pk")))
    lately = needing.filter(~Q(state__in=TERMINAL) | Q(finished_at__gt=since))
    spent = EndpointKey.objects.filter(~Exists(lately), created_at__lt=since)
    gone = spent.delete()[1].get("catalog.EndpointKey", 0)
    if gone:
        log.info("%d keys of endpoints deleted, a week after their last run", gone)
    return gone


def _unfinished() -> QuerySet[Run]:
    return Run.objects.exclude(state__in=TERMINAL)


def _needs(key: object) -> Q:
    return Q(model__key=key) | Q(critic_model__key=key) | Q(judge_model__key=key)
