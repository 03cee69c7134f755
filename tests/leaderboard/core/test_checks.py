"""System checks fail where they must, and only there."""

from __future__ import annotations

import re

import pytest
from django.conf import settings
from django.db import connection
from django.test import override_settings

from leaderboard.core import checks, doctor


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


class TestPromptPacks:
    @pytest.fixture
    def folder(self, tmp_path):
        text = tmp_path / "mine" / "redraft_self_correction" / "review_improve" / "improve.txt"
        text.parent.mkdir(parents=True)
        text.write_text("Mend it.")
        (tmp_path / "mine" / "pack.toml").write_text('name = "ours"\nversion = "1"\n')
        with override_settings(REDRAFT_PROMPT_PACKS=tmp_path):
            yield tmp_path

    def test_nobody_needs_any(self):
        assert checks.prompt_packs(None) == []
        assert list(doctor._prompt_packs()) == []

    def test_names_what_is_on_offer(self, folder):
        assert checks.prompt_packs(None) == []
        (finding,) = doctor._prompt_packs()
        assert finding.level == "ok"
        assert re.fullmatch(
            r"ours 1, sha256 [0-9a-f]{8}: redraft_self_correction/review_improve/improve",
            finding.text,
        )

    def test_warns_of_a_pack_that_is_refused(self, folder):
        (folder / "mine" / "redraft_self_correction" / "no_method.txt").write_text("Mend it.")
        (message,) = checks.prompt_packs(None)
        assert message.id == "redraft.W008"
        assert "'mine' is refused: mine/redraft_self_correction/no_method.txt: no prompt" in str(
            message.msg
        )
        told = [f for f in doctor._configuration() if "is refused" in f.text]
        assert [(finding.level, finding.text) for finding in told] == [("note", message.msg)]
        assert list(doctor._prompt_packs()) == []

    @pytest.mark.parametrize(("mode", "expected"), [(0o755, []), (0o757, ["redraft.E007"])])
    def test_refuses_a_folder_that_others_may_write(self, folder, mode, expected):
        folder.chmod(mode)
        assert _ids(checks.prompt_packs(None)) == expected

    def test_refuses_a_folder_that_is_not_there(self, tmp_path):
        with override_settings(REDRAFT_PROMPT_PACKS=tmp_path / "typo"):
            (message,) = checks.prompt_packs(None)
        assert message.id == "redraft.E007"
        assert str(tmp_path / "typo") in str(message.msg)


@pytest.mark.django_db
def test_counts_the_connections_that_the_server_allows():
    with connection.cursor() as cursor:
        cursor.execute("SHOW max_connections")
        assert cursor.fetchone() == ("100",)
    assert checks.connection_budget(None, databases=["default"]) == []
    assert checks.connection_budget(None) == []
