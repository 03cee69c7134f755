"""Mend what dead workers left behind, once or for ever."""

from __future__ import annotations

import signal
import threading
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connections

from leaderboard.runs import services
from leaderboard.runs.execution.database import DATABASE_AWAY
from leaderboard.runs.tuning import tuning


class Command(BaseCommand):
    """Runs the sweeper; several at once do no harm."""

    help = "Take shards from dead workers, end what is to stop, refresh the boards."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add how long to sweep."""
        group = parser.add_mutually_exclusive_group()
        group.add_argument("--once", action="store_true", help="go round once (the default)")
        group.add_argument("--forever", action="store_true", help="go round until SIGTERM")

    def handle(self, *args: Any, **options: Any) -> None:
        """Sweep."""
        if not options["forever"]:
            found = asdict(services.sweep())
            self.stdout.write(", ".join(f"{name} {count}" for name, count in found.items()))
            return
        ended = threading.Event()
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, lambda *_: ended.set())
        while not ended.is_set():
            try:
                services.sweep()
            except DATABASE_AWAY as error:
                self.stderr.write(f"not swept: {str(error).strip()}")
                connections.close_all()
            ended.wait(tuning().sweep_seconds)
