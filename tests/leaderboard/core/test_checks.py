"""System checks fail where they must, and only there."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.db import connection
from django.test import override_settings

from leaderboard.core import checks


def _ids(messages):
    return [message.id for message in messages]


@pytest.fixture
def entry():
    """The settings of the database, put back after the test."""
    entry = settings.DATABASES["default"]
    before = dict(entry)
    yield entry
    entry.clear()
    entry.update(before)


def test_refuses_another_database(entry):
    assert checks.postgres_only(None) == []
    entry["ENGINE"] = "django.db.backends.sqlite3"
    assert _ids(checks.postgres_only(None)) == ["redraft.E001"]


@pytest.mark.parametrize(("mode", "expected"), [(0o700, []), (0o777, ["redraft.E002"])])
def test_refuses_a_socket_folder_that_others_may_enter(tmp_path, entry, mode, expected):
    sockets = tmp_path / "postgres" / "s"
    sockets.mkdir(parents=True)
    sockets.chmod(mode)
    (tmp_path / "postgres" / "url").touch(mode=0o600)
    entry["HOST"] = str(sockets)
    with override_settings(REDRAFT_VAR=tmp_path):
        assert _ids(checks.private_socket(None)) == expected


def test_leaves_a_database_of_ones_own_alone(tmp_path, entry):
    shared = tmp_path / "run"
    shared.mkdir()
    shared.chmod(0o755)
    entry["HOST"] = str(shared)
    with override_settings(REDRAFT_VAR=tmp_path):
        assert checks.private_socket(None) == []


@pytest.mark.parametrize(("mode", "expected"), [(0o600, []), (0o644, ["redraft.E003"])])
def test_refuses_secrets_that_others_may_read(tmp_path, mode, expected):
    (tmp_path / "secret_key").touch()
    (tmp_path / "secret_key").chmod(mode)
    with override_settings(REDRAFT_VAR=tmp_path):
        assert _ids(checks.private_files(None)) == expected


@pytest.mark.parametrize(("beat", "expected"), [(1.0, []), (1.1, ["redraft.E004"])])
def test_refuses_a_heartbeat_too_slow_for_its_lease(beat, expected):
    with override_settings(REDRAFT_LEASE_SECONDS=3.0, REDRAFT_HEARTBEAT_SECONDS=beat):
        assert _ids(checks.sound_timings(None)) == expected


@pytest.mark.django_db
def test_counts_the_connections_that_the_server_allows():
    with connection.cursor() as cursor:
        cursor.execute("SHOW max_connections")
        assert cursor.fetchone() == ("100",)
    assert checks.connection_budget(None, databases=["default"]) == []
    assert checks.connection_budget(None) == []
