"""Fixtures of all tests; imports no Django, because the library's tests run without it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# No test asserts speed: a machine that is busy with something else must not fail one.
hypothesis.settings.register_profile("redraft", deadline=None)
hypothesis.settings.load_profile("redraft")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of a PostgreSQL whose role may create databases: DATABASE_URL's, or an embedded one."""
    if given := os.environ.get("DATABASE_URL"):
        yield given
        return
    from leaderboard.core.postgres import EmbeddedPostgres

    # not pytest's own folder: when tests run as root, the server's user must be able to enter it
    var = Path(tempfile.mkdtemp(prefix="redraft-test-"))
    var.chmod(0o711)
    server = EmbeddedPostgres(var, options={"fsync": "off", "synchronous_commit": "off"})
    try:
        yield server.start()
    finally:
        server.destroy()
        shutil.rmtree(var)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(postgres_url: str) -> None:
    """Point pytest-django, before it creates the test database, to the tests' server."""
    from django.db import connections

    from leaderboard.settings.services import database

    connections.databases["default"].update(database(postgres_url, var=Path()))


@pytest.fixture
def database_url(transactional_db: None, postgres_url: str) -> str:
    """URL of the test database itself, for processes that a test starts."""
    from urllib.parse import urlsplit, urlunsplit

    from django.db import connection

    return urlunsplit(urlsplit(postgres_url)._replace(path=f"/{connection.settings_dict['NAME']}"))
