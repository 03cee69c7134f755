"""Serve from this machine: database, web and workers, until Ctrl-C."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from django.core.management import BaseCommand, CommandParser
from rich.console import Console

from leaderboard.core.stack import running_stack
from leaderboard.core.supervisor import StopRequested, stop_on_signals
from leaderboard.core.terminal import add_stack_arguments, speaker, wishes_from


class Command(BaseCommand):
    """Starts everything, says where, and looks after it."""

    help = "Start the embedded database, the web server and a worker, and keep them running."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Add where to serve and how many workers."""
        add_stack_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until somebody asks to stop."""
        wishes, report = wishes_from(options), speaker(Console(stderr=True))
        with (
            contextlib.suppress(StopRequested),
            stop_on_signals(),
            running_stack(wishes, report=report) as supervisor,
        ):
            report(f"Redraft is at {wishes.url} (Ctrl-C stops it; logs in {supervisor.folder}).")
            while True:
                supervisor.tick()
                time.sleep(0.5)
