#!/usr/bin/env python
"""Run Redraft's server commands: `python manage.py help`."""

import os
import sys


def main() -> None:
    """Hand the command line to Django; the default settings are those of a single machine."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "leaderboard.settings.base")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
