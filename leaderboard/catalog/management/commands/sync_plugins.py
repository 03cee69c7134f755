"""Record which evaluators and suites are installed."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from leaderboard.catalog.services import sync_plugins, sync_suites


class Command(BaseCommand):
    """Brings the catalogue up to date with what is installed."""

    help = "Record installed evaluators and suites; a new version stands beside the old one."

    def handle(self, *args: Any, **options: Any) -> None:
        """Look, record and say what changed."""
        found = sync_plugins()
        for word, names in (
            ("new", found.added),
            ("gone", found.removed),
            ("broken", found.broken),
        ):
            for name in names:
                self.stdout.write(f"{word}: {name}")
        suites = sync_suites()
        self.stdout.write(f"{found.total} evaluators, {len(suites)} suites")
