"""Settings as processes see them: the environment in, Django's settings out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from leaderboard.settings.env import REPOSITORY, read_environment
from leaderboard.settings.services import database, kept_secret

PRODUCTION = dict(
    line.split("=", 1)
    for line in (REPOSITORY / "deploy" / "check.env").read_text().splitlines()
    if line and not line.startswith("#")
)


def _manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k in {"PATH", "HOME"} or "COVERAGE" in k}
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "manage.py"), *arguments],
        env={**kept, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


class TestEnvironment:
    def test_reads_types_and_keeps_defaults(self):
        env = read_environment({
            "REDRAFT_ALLOWED_HOSTS": "a.example, b.example,",
            "REDRAFT_BEHIND_PROXY": "yes",
            "REDRAFT_LEASE_SECONDS": "3",
            "REDRAFT_VAR": "/srv/redraft",
            "REDRAFT_BATCH_SAMPLES": "",
        })  # fmt: skip
        assert env.allowed_hosts == ["a.example", "b.example"]
        assert env.behind_proxy is True
        assert env.lease_seconds == 3.0
        assert env.var == Path("/srv/redraft")
        assert env.batch_samples == 32

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("REDRAFT_LEASE_SECONDS", "0"),
            ("REDRAFT_LEASE_SECONDS", "a minute"),
            ("REDRAFT_MAX_UNSCORED", "1.5"),
            ("REDRAFT_BATCH_SAMPLES", "-1"),
            ("REDRAFT_LOG_LEVEL", "LOUD"),
        ],
    )
    def test_refuses_a_value_and_names_the_variable(self, name, value):
        with pytest.raises(ImproperlyConfigured, match=f"{name}='{value}'"):
            read_environment({name: value})


class TestDatabaseUrl:
    def test_splits_a_url_as_libpq_does(self):
        found = database("postgresql://me:p%40ss@db:5433/board?sslmode=require", var=Path())
        assert {key: found[key] for key in ("NAME", "USER", "PASSWORD", "HOST", "PORT")} == {
            "NAME": "board", "USER": "me", "PASSWORD": "p@ss", "HOST": "db", "PORT": "5433",
        }  # fmt: skip
        assert found["OPTIONS"] == {"sslmode": "require"}

    def test_understands_a_socket_folder(self):
        assert (
            database("postgresql://me:pw@/board?host=%2Frun%2Fpg", var=Path())["HOST"] == "/run/pg"
        )

    def test_takes_the_embedded_servers_url(self, tmp_path):
        (tmp_path / "postgres").mkdir()
        (tmp_path / "postgres" / "url").write_text("postgresql://redraft:pw@/redraft?host=/x")
        assert database("", var=tmp_path)["HOST"] == "/x"

    def test_cannot_connect_before_there_is_any(self, tmp_path):
        assert database("", var=tmp_path)["HOST"] == str(tmp_path / "postgres" / "not-started")

    @pytest.mark.parametrize("url", ["sqlite:///db.sqlite3", "mysql://u:p@h/d", "board"])
    def test_refuses_another_database(self, url):
        with pytest.raises(ImproperlyConfigured, match="PostgreSQL is the only database"):
            database(url, var=Path())

    def test_refuses_a_broken_url_without_telling_its_password(self):
        with pytest.raises(ImproperlyConfigured) as refused:
            database("postgresql://me:hunter2@[broken/board", var=Path())
        assert "hunter2" not in str(refused.value)


class TestKeptSecret:
    def test_is_made_once_and_private(self, tmp_path):
        path = tmp_path / "var" / "secret_key"
        first = kept_secret(path)
        assert kept_secret(path) == first
        assert len(first) >= 80
        assert path.stat().st_mode & 0o777 == 0o600
        assert list(path.parent.iterdir()) == [path]


class TestProduction:
    def test_passes_the_deployment_checks(self):
        done = _manage(
            "check", "--deploy", "--fail-level", "WARNING", "--settings",
            "leaderboard.settings.production", **PRODUCTION,
        )  # fmt: skip
        assert (done.returncode, done.stdout.strip()) == (
            0,
            "System check identified no issues (0 silenced).",
        )

    @pytest.mark.parametrize(
        "name",
        ["REDRAFT_SECRET_KEY", "REDRAFT_ALLOWED_HOSTS", "DATABASE_URL", "CELERY_BROKER_URL"],
    )
    def test_refuses_to_start_without(self, name, tmp_path):
        given = {**PRODUCTION, "REDRAFT_VAR": str(tmp_path)}
        del given[name]
        done = _manage("check", "--settings", "leaderboard.settings.production", **given)
        assert done.returncode == 1
        assert f"{name} must be set in production" in done.stderr

    def test_warns_about_a_missing_sandbox(self):
        given = {**PRODUCTION, "REDRAFT_REQUIRE_SANDBOX": "0"}
        done = _manage(
            "check", "--deploy", "--fail-level", "WARNING", "--settings",
            "leaderboard.settings.production", **given,
        )  # fmt: skip
        assert done.returncode == 1
        assert "(redraft.W005) REDRAFT_REQUIRE_SANDBOX is off" in done.stderr
