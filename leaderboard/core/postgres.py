"""The embedded PostgreSQL: one owner starts it, others get its URL, it dies with its owner."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from leaderboard.core import tether
from leaderboard.core.postgres_home import (
    EmbeddedPostgresError,
    Home,
    Passwords,
    check_version,
    passwords,
    prepare,
    write_private,
)

READY_SECONDS = 30.0
STOP_SECONDS = 30.0
ROLE = "redraft"
"""Name of the role and of the database that the application uses; not a superuser."""
_KEPT_LOG = 10 * 1024 * 1024


class OwnedByAnotherError(EmbeddedPostgresError):
    """Another process runs the embedded server of this folder."""


class EmbeddedPostgres:
    """A PostgreSQL server below `<var>/postgres`, reached over a private Unix socket only.

    Args:
        var: Folder of everything Redraft writes.
        system_user: Runs the server when we are root; made when missing.
        options: Server settings beside ours, such as `{"fsync": "off"}` for tests.
    """

    def __init__(
        self,
        var: Path,
        *,
        system_user: str = "redraft-postgres",
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.root = var.expanduser().resolve() / "postgres"
        self._system_user = system_user
        self._options = dict(options or {})
        self._lock: IO[str] | None = None
        self._home: Home | None = None
        self._passwords: Passwords | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Return the URL of the application's database."""
        return self._url(ROLE, self._known_passwords.application, ROLE)

    @property
    def home(self) -> Home:
        """Return the server's folders; known once it was started."""
        if self._home is None:
            raise EmbeddedPostgresError("The embedded database was not started.")
        return self._home

    @property
    def pid(self) -> int | None:
        """Return the process id of the running server."""
        return self._process.pid if self._process is not None and self.alive() else None

    def alive(self) -> bool:
        """Say whether the server's process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> str:
        """Start the server, wait until it answers, and return the application's URL."""
        self.root.mkdir(parents=True, exist_ok=True)
        self._acquire()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        write_private(self.root / "url", self.url)
        return self.url

    def stop(self) -> None:
        """Shut down cleanly, harder when that takes too long, and give up ownership."""
        if self._process is not None:
            _stop_process(psutil.Process(self._process.pid) if self.alive() else None)
            self._process.wait()
            self._process = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def destroy(self) -> None:
        """Stop and delete everything, data included."""
        self.stop()
        if self._home is not None:
            for folder in (self.home.sockets, self.home.cluster):
                shutil.rmtree(folder, ignore_errors=True)
            if self.home.cluster.parent != self.root:
                shutil.rmtree(self.home.cluster.parent, ignore_errors=True)
        shutil.rmtree(self.root, ignore_errors=True)

    def _acquire(self) -> None:
        """Become the one owner of this folder, or say who is."""
        if self._lock is not None:
            return
        file = (self.root / "owner.lock").open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = _owner(file.read())
            file.close()
            raise OwnedByAnotherError(
                f"{self.root.parent} is in use by {owner}: stop that one first, or set REDRAFT_VAR "
                "to another folder."
            ) from None
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "command": " ".join(sys.argv[:3])[:200]}))
        file.flush()
        self._lock = file

    def _start(self) -> None:
        home = self._home = prepare(self.root, user_name=self._system_user)
        fresh = not (home.data / "PG_VERSION").exists()
        self._passwords = passwords(self.root, fresh=fresh)
        if fresh:
            self._initialise()
        check_version(home.data)
        self._launch()
        with self._connect() as connection:
            _ensure_role(connection, self._passwords.application)

    def _initialise(self) -> None:
        """Make the data directory aside and move it into place whole."""
        home, new = self.home, self.home.cluster / "data.new"
        shutil.rmtree(new, ignore_errors=True)
        secret = home.cluster / "initial-password"
        write_private(secret, self._known_passwords.superuser)
        os.chown(secret, home.user.uid, home.user.gid)
        command = [
            str(home.programs / "initdb"),
            f"--pgdata={new}",
            "--username=postgres",
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--locale=C",
            "--builtin-locale=C.UTF-8",
        ]
        if self._options.get("fsync") == "off":
            command.append("--no-sync")
        try:
            made = subprocess.run(  # noqa: S603 - the wheel's own program
                self._tethered(command),
                capture_output=True,
                text=True,
                check=False,
                env=_ENVIRONMENT,
                cwd="/",
            )
        finally:
            secret.unlink()
        if made.returncode != 0:
            shutil.rmtree(new, ignore_errors=True)
            reason = (made.stderr.strip() or made.stdout.strip() or "no reason given").splitlines()
            raise EmbeddedPostgresError(
                f"The embedded database could not be made in {home.cluster}: {reason[-1]}"
            )
        new.rename(home.data)

    def _launch(self) -> None:
        """Start the server's process, again if remains of an earlier one were in the way."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            _clear_remains(self.home)
            self._spawn()
            if self._ready(deadline):
                return
            if time.monotonic() > deadline:
                self.stop()
                raise EmbeddedPostgresError(
                    f"The embedded database did not start within {READY_SECONDS:.0f} s: "
                    f"{self._last_words()}"
                )
            time.sleep(0.5)

    def _spawn(self) -> None:
        home = self.home
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(home.sockets),
            "unix_socket_permissions": "0700",
            "log_min_messages": "warning",
            "log_timezone": "UTC",
            **self._options,
        }
        command = [str(home.programs / "postgres"), "-D", str(home.data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        log = self.root / "log"
        mode = "wb" if log.exists() and log.stat().st_size > _KEPT_LOG else "ab"
        with log.open(mode) as output:
            self._process = subprocess.Popen(  # noqa: S603 - the wheel's own program
                self._tethered(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,  # Ctrl-C is for the owner, who stops the server last
            )

    def _tethered(self, command: list[str]) -> list[str]:
        """Tie the command to us with the signal for a fast, clean shutdown."""
        user = self.home.user
        if not user.switched:
            return tether.command(command, sign=signal.SIGINT)
        return tether.command(command, sign=signal.SIGINT, uid=user.uid, gid=user.gid)

    def _ready(self, deadline: float) -> bool:
        """Wait until a query is answered; False when the process ended or time is up."""
        while self.alive() and time.monotonic() < deadline:
            try:
                with self._connect() as connection:
                    connection.execute("SELECT 1")
            except psycopg.OperationalError as error:
                if "password authentication failed" in str(error):
                    raise EmbeddedPostgresError(
                        "The embedded database does not accept the password in "
                        f"{self.root}/passwords.json."
                    ) from None
                time.sleep(0.05)
            else:
                return True
        return False

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            self._url("postgres", self._known_passwords.superuser, "postgres"),
            autocommit=True,
            connect_timeout=5,
        )

    def _url(self, role: str, password: str, name: str) -> str:
        host = quote(str(self.home.sockets), safe="")
        return f"postgresql://{role}:{quote(password, safe='')}@/{name}?host={host}"

    @property
    def _known_passwords(self) -> Passwords:
        if self._passwords is None:
            raise EmbeddedPostgresError("The embedded database was not started.")
        return self._passwords

    def _last_words(self) -> str:
        lines = (self.root / "log").read_text(encoding="utf-8", errors="replace").splitlines()
        told = [
            line for line in lines[-20:] if "FATAL" in line or "ERROR" in line or "PANIC" in line
        ]
        return (told or lines or ["it said nothing"])[-1]


_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
"""Nothing of ours reaches the server: the environment may hold secrets."""


def _owner(text: str) -> str:
    """Describe the owner from what it wrote into the lock file."""
    try:
        facts = json.loads(text)
        return f"process {facts['pid']} ({facts['command']})"
    except (ValueError, KeyError, TypeError):
        return "another process"


def _ensure_role(connection: psycopg.Connection[tuple[object, ...]], password: str) -> None:
    """Make the application's role and database if they are missing, with the kept password."""
    hashed = connection.pgconn.encrypt_password(
        password.encode(), ROLE.encode(), b"scram-sha-256"
    ).decode()
    role = sql.Identifier(ROLE)
    known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,)).fetchone()
    verb = sql.SQL("ALTER" if known else "CREATE")
    connection.execute(
        sql.SQL("{} ROLE {} LOGIN CREATEDB NOSUPERUSER NOCREATEROLE PASSWORD {}").format(
            verb, role, hashed
        )
    )
    if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (ROLE,)).fetchone():
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))


def _clear_remains(home: Home) -> None:
    """Stop what an earlier owner left running and remove the files that a crash left behind.

    Only the owner of the lock comes here, so whatever runs on this data belongs to nobody.
    """
    for process in _servers_of(home.data):
        _stop_process(process)
    (home.data / "postmaster.pid").unlink(missing_ok=True)
    for path in home.sockets.iterdir():
        path.unlink(missing_ok=True)


def _servers_of(data: Path) -> Iterator[psutil.Process]:
    """Yield PostgreSQL processes that work in this data directory, the main one first."""
    found = []
    for process in psutil.process_iter(["name"]):
        if process.info["name"] != "postgres":
            continue
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == data:
                found.append(process)
    ids = {process.pid for process in found}
    found.sort(key=lambda process: _parent(process) in ids)
    yield from found


def _parent(process: psutil.Process) -> int | None:
    try:
        return int(process.ppid())
    except psutil.Error:
        return None


def _stop_process(process: psutil.Process | None) -> None:
    """Ask for a fast shutdown, then an immediate one, then kill."""
    for sign, patience in (
        (signal.SIGINT, STOP_SECONDS),
        (signal.SIGQUIT, 5.0),
        (signal.SIGKILL, 5.0),
    ):
        if process is None or not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return
        with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
            process.send_signal(sign)
            process.wait(patience)
