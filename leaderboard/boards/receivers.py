"""Refreshes the boards whenever the sweeper goes round, which it does when a run has finished."""

from __future__ import annotations

from django.dispatch import receiver

from leaderboard.boards.against import hold_against
from leaderboard.boards.services import refresh
from leaderboard.runs.signals import swept


@receiver(swept)
def refresh_boards(**kwargs: object) -> None:
    """Bring the boards up to date: new rows first, then what they are held against."""
    refresh()
    hold_against()
