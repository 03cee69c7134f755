"""Tidies up whenever the sweeper goes round."""

from __future__ import annotations

from django.dispatch import receiver

from leaderboard.runs.services.keys import expire_keys
from leaderboard.runs.signals import swept


@receiver(swept)
def forget_spent_keys(**kwargs: object) -> None:
    """Delete keys that nobody needs any more."""
    expire_keys()
