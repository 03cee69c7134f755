"""Record which evaluators, suites and prompt packs are installed."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from evaluators.errors import BadFile
from leaderboard.catalog.packs import sync_packs
from leaderboard.catalog.services import sync_plugins, sync_suites


class Command(BaseCommand):
    """Brings the catalogue up to date with what is installed."""

    help = (
        "Record installed evaluators, suites and prompt packs; a new version stands beside the "
        "old one."
    )

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
        packs = self._packs()
        self.stdout.write(f"{found.total} evaluators, {len(suites)} suites, prompt packs: {packs}")

    def _packs(self) -> int:
        try:
            found = sync_packs()
        except BadFile as error:
            raise CommandError(f"REDRAFT_PROMPT_PACKS={error}") from error
        for word, names in (
            ("new prompts", found.added),
            ("gone prompts", found.removed),
            ("refused prompts", found.refused),
        ):
            for name in names:
                self.stdout.write(f"{word}: {name}")
        return found.total
