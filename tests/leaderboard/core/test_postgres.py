"""The embedded PostgreSQL against real processes: starts, crashes, rivals and strangers."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
import pytest

from leaderboard.core.postgres import EmbeddedPostgres, OwnedByAnotherError
from leaderboard.core.postgres_home import (
    MAJOR,
    SOCKET_LIMIT,
    SOCKET_NAME,
    EmbeddedPostgresError,
    _copy_programs,
    installed_programs,
)

FAST = {"fsync": "off", "synchronous_commit": "off"}

OWNER = """
import sys, time
from pathlib import Path
from leaderboard.core.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), options={"fsync": "off"})
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A folder whose server was started once, holds a row, and is stopped."""
    var = _folder()
    server = EmbeddedPostgres(var, options=FAST)
    try:
        with psycopg.connect(server.start(), autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        server.stop()
        yield var
    finally:
        server.destroy()
        shutil.rmtree(var)


@pytest.fixture
def server(made: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(made, options=FAST)
    yield server
    server.stop()


@pytest.fixture
def owner(made: Path) -> Iterator[Callable[[], tuple[subprocess.Popen[str], int]]]:
    """Starts another process that owns the server; ended after the test."""
    started = []

    def start() -> tuple[subprocess.Popen[str], int]:
        process = subprocess.Popen(
            [sys.executable, "-c", OWNER, str(made)], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process, int(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def _folder() -> Path:
    var = Path(tempfile.mkdtemp(prefix="redraft-test-"))
    var.chmod(0o711)
    return var


def _answer(url: str) -> int:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT answer FROM kept").fetchone()[0]


def _gone(pid: int, *, within: float = 15.0) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.02)
                continue
        return True
    return False


class TestStarts:
    def test_keeps_rows_from_one_start_to_the_next(self, server):
        assert _answer(server.start()) == 42
        server.stop()
        assert _answer(server.start()) == 42

    def test_stops_its_process(self, server):
        server.start()
        pid = server.pid
        server.stop()
        assert _gone(pid, within=1)
        assert server.pid is None

    def test_runs_as_somebody_other_than_root(self, server):
        server.start()
        assert psutil.Process(server.pid).uids().effective != 0

    def test_listens_on_no_network_address(self, server):
        server.start()
        assert psutil.Process(server.pid).net_connections(kind="inet") == []

    def test_keeps_the_url_for_its_own_user(self, server, made):
        url = server.start()
        kept = made / "postgres" / "url"
        assert kept.read_text() == url
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert stat.S_IMODE((made / "postgres" / "passwords.json").stat().st_mode) == 0o600
        assert stat.S_IMODE(server.home.data.stat().st_mode) == 0o700
        assert stat.S_IMODE(server.home.sockets.stat().st_mode) == 0o700

    def test_gives_the_application_no_superuser(self, server):
        with psycopg.connect(server.start()) as connection:
            row = connection.execute(
                "SELECT rolname, rolsuper, rolcreatedb, rolcreaterole FROM pg_roles"
                " WHERE rolname = current_user"
            ).fetchone()
        assert row == ("redraft", False, True, False)

    def test_shows_no_password_on_a_command_line(self, server, made):
        server.start()
        secrets = json.loads((made / "postgres" / "passwords.json").read_text()).values()
        words = " ".join(psutil.Process(server.pid).cmdline())
        assert not any(secret in words for secret in secrets)
        assert set(psutil.Process(server.pid).environ()) <= {"PATH", "LC_ALL", "TZ"} | _POSTGRES_OWN


_POSTGRES_OWN = {"PGSYSCONFDIR", "PGLOCALEDIR", "PWD"}


class TestCrashes:
    def test_starts_over_a_pid_file_whose_number_another_process_has(self, server):
        server.start()
        data = server.home.data
        server.stop()
        (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n1\n5432\n/tmp\n\n")
        (server.home.sockets / f"{SOCKET_NAME}.lock").write_text(f"{os.getpid()}\n")
        assert _answer(server.start()) == 42

    def test_starts_again_after_its_process_was_killed(self, server):
        server.start()
        os.kill(server.pid, signal.SIGKILL)
        server._process.wait()
        assert not server.alive()
        assert _answer(server.start()) == 42

    def test_dies_with_an_owner_that_was_killed(self, server, owner):
        process, postmaster = owner()
        process.kill()
        assert _gone(postmaster)
        assert _answer(server.start()) == 42

    def test_stops_a_server_that_outlived_its_owner(self, server):
        server.start()
        server.stop()
        home = server.home
        user = {"user": home.user.uid, "group": home.user.gid} if home.user.switched else {}
        stray = subprocess.Popen(
            [home.programs / "postgres", "-D", home.data, "-c", "listen_addresses=",
             "-c", f"unix_socket_directories={home.sockets}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **user,
        )  # fmt: skip
        while not (home.sockets / SOCKET_NAME).exists():
            assert stray.poll() is None
            time.sleep(0.02)
        assert _answer(server.start()) == 42
        assert stray.wait(1) == 0

    def test_clears_away_a_first_start_that_was_cut_short(self):
        var = _folder()
        server = EmbeddedPostgres(var, options=FAST)
        try:
            server.start()
            server.stop()
            server.home.data.rename(server.home.cluster / "data.new")
            assert server.start()
            assert not (server.home.cluster / "data.new").exists()
        finally:
            server.destroy()
            shutil.rmtree(var)


class TestRefusals:
    def test_refuses_a_connection_without_password(self, server):
        server.start()
        host = quote(str(server.home.sockets), safe="")
        for role in ("postgres", "redraft"):
            with pytest.raises(psycopg.OperationalError, match="no password supplied"):
                psycopg.connect(f"postgresql://{role}@/postgres?host={host}")

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
    def test_refuses_another_user_the_socket_and_the_secrets(self, server, made):
        server.start()
        sockets = server.home.sockets
        for path in (sockets / SOCKET_NAME, made / "postgres" / "url", server.home.data / "base"):
            tried = subprocess.run(
                ["/bin/sh", "-c", 'test -r "$0"', str(path)], user=65534, group=65534, check=False
            )
            assert tried.returncode == 1
            assert path.exists()

    def test_refuses_a_second_owner_and_names_the_first(self, server, owner):
        process, _ = owner()
        with pytest.raises(OwnedByAnotherError, match=rf"in use by process {process.pid} \(-c "):
            server.start()
        assert process.poll() is None

    def test_refuses_data_of_another_major_version(self, server):
        server.start()
        server.stop()
        version = server.home.data / "PG_VERSION"
        version.write_text("16\n")
        try:
            with pytest.raises(EmbeddedPostgresError, match="written by PostgreSQL 16, this is 18"):
                server.start()
        finally:
            version.write_text("18\n")
        assert _answer(server.start()) == 42

    def test_refuses_passwords_that_are_lost(self, server, made):
        kept = made / "postgres" / "passwords.json"
        hidden = kept.rename(kept.with_suffix(".hidden"))
        try:
            with pytest.raises(EmbeddedPostgresError, match=r"passwords .* cannot be read"):
                server.start()
        finally:
            hidden.rename(kept)

    def test_refuses_data_that_is_gone_instead_of_beginning_anew(self, server, made):
        cluster = Path((made / "postgres" / "home").read_text())
        hidden = cluster.rename(cluster.with_name("hidden"))
        try:
            with pytest.raises(EmbeddedPostgresError, match="which is gone"):
                server.start()
        finally:
            hidden.rename(cluster)


class TestPlaces:
    def test_moves_the_socket_when_the_path_is_too_long(self):
        top = _folder()
        var = top / ("long" * 20) / ("longer" * 10)
        var.mkdir(parents=True)
        server = EmbeddedPostgres(var, options=FAST)
        try:
            server.start()
            sockets = server.home.sockets
            assert len(str(sockets / SOCKET_NAME)) <= SOCKET_LIMIT
            assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
            server.stop()
            server.start()
            assert server.home.sockets == sockets
        finally:
            server.destroy()
            shutil.rmtree(top)
        assert not sockets.exists()

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root, whose folders others cannot enter")
    def test_leaves_roots_private_folder_private(self):
        top = Path(tempfile.mkdtemp(prefix="redraft-test-"))
        server = EmbeddedPostgres(top / "var", options=FAST)
        try:
            server.start()
            assert stat.S_IMODE(top.stat().st_mode) == 0o700
            assert not server.home.cluster.is_relative_to(top)
            assert server.home.cluster.stat().st_uid == server.home.user.uid
        finally:
            server.destroy()
            shutil.rmtree(top)
        assert not server.home.cluster.parent.exists()

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root, whose folders others cannot enter")
    def test_copies_the_programs_to_where_their_user_can_run_them(self, made):
        """As when the environment lies in root's home."""
        user = pwd.getpwuid((made / "postgres" / "cluster").stat().st_uid)
        top = _folder()
        try:
            _copy_programs(installed_programs().parents[1], top / "copy")
            for program in ("postgres", "initdb"):
                (found,) = (top / "copy").rglob(f"bin/{program}")
                shown = subprocess.run(
                    [found, "--version"], user=user.pw_uid, group=user.pw_gid, cwd="/",
                    capture_output=True, text=True, check=True,
                )  # fmt: skip
                assert shown.stdout.startswith(f"{program} (PostgreSQL) {MAJOR}.")
        finally:
            shutil.rmtree(top)
