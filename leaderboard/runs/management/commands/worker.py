"""Work on runs: look for them every second or two, and listen to the broker besides."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from leaderboard.runs.worker import CLASSES, WorkerOptions, run_worker


class Command(BaseCommand):
    """Starts a worker that runs until SIGTERM or Ctrl-C."""

    help = "Claim runs and work on them until SIGTERM; works with or without a broker."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what the worker serves and how long."""
        parser.add_argument(
            "--hardware",
            default="cpu",
            metavar="CLASS[,CLASS]",
            help=f"hardware classes that it serves, of {', '.join(CLASSES)} (default: %(default)s)",
        )
        parser.add_argument("--no-celery", action="store_true", help="do not listen to the broker")
        parser.add_argument(
            "--until-idle", action="store_true", help="end when there is nothing left to do"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Work."""
        classes = tuple(dict.fromkeys(filter(None, options["hardware"].split(","))))
        unknown = sorted(set(classes) - set(CLASSES))
        if unknown or not classes:
            raise CommandError(
                f"--hardware takes {', '.join(CLASSES)}, not {options['hardware']!r}"
            )
        sys.exit(
            run_worker(
                WorkerOptions(
                    classes=classes,
                    celery=not options["no_celery"],
                    until_idle=options["until_idle"],
                )
            )
        )
