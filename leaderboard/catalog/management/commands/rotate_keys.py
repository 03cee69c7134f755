"""Encrypt stored keys anew, or print a new key to encrypt with."""

from __future__ import annotations

from typing import Any

from cryptography.fernet import Fernet
from django.core.management.base import BaseCommand, CommandError, CommandParser

from leaderboard.catalog.keys import rotate_keys


class Command(BaseCommand):
    """Has the first of REDRAFT_FIELD_KEYS encrypt everything, so that the others can go."""

    help = (
        "Encrypt every stored key anew with the first of REDRAFT_FIELD_KEYS. To replace a key: put "
        "a new one in front, restart web and workers, run this, then take the old one away."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the switch that only prints."""
        parser.add_argument("--new", action="store_true", help="print a new key and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate, and say what could not be opened."""
        if options["new"]:
            self.stdout.write(Fernet.generate_key().decode())
            return
        done, unreadable = rotate_keys()
        self.stdout.write(f"{done} keys encrypted anew")
        if unreadable:
            names = ", ".join(unreadable)
            raise CommandError(f"No key of REDRAFT_FIELD_KEYS opens {names}: left as they are.")
