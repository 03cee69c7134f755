"""Points this process, and those it starts, to a database found after Django was set up."""

from __future__ import annotations

import os
from pathlib import Path

from django.conf import settings
from django.db import connections

from leaderboard.settings.services import database


def use_database(url: str) -> None:
    """Use the database of this URL from now on; open connections to another one are closed."""
    os.environ["DATABASE_URL"] = url
    connections.close_all()
    connections.databases["default"].update(database(url, var=Path(settings.REDRAFT_VAR)))
