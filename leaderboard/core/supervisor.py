"""Starts the services of a single machine, restarts those that die, stops them in order."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from leaderboard.core import tether
from leaderboard.core.postgres import EmbeddedPostgres
from leaderboard.core.postgres_home import EmbeddedPostgresError

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before a service that died is started again; doubled each time."""
SOUND_AFTER = 60.0
"""A service that ran this long is forgiven its earlier deaths."""
_KEPT_LOG = 10 * 1024 * 1024

Report = Callable[[str], None]


@dataclass(frozen=True)
class Service:
    """A child process that should always run."""

    name: str
    argv: Sequence[str]
    patience: float = 30.0
    """Seconds it gets to finish what it has in hand."""


@dataclass
class _Child:
    """A service and its present process."""

    service: Service
    process: subprocess.Popen[bytes]
    started: float
    pause: float = FIRST_PAUSE
    restart_at: float | None = None


@dataclass
class Supervisor:
    """Owns the embedded database, if there is one, and the services; stops services first.

    Use it from the main thread: children are tied to the thread that starts them.
    """

    folder: Path | None
    """Where each service's log goes; None leaves them our own standard streams."""
    report: Report
    """Is told what a person should know, one line at a time."""
    postgres: EmbeddedPostgres | None = None
    together: bool = False
    """Services do not need one another: they are asked to stop all at once."""
    clock: Callable[[], float] = time.monotonic
    _children: list[_Child] = field(default_factory=list)

    def start(self, service: Service) -> None:
        """Start a service, to be stopped before those that were started earlier."""
        self._children.append(_Child(service, self._spawn(service), self.clock()))

    def pid(self, name: str) -> int:
        """Return the present process id of a service."""
        return next(child.process.pid for child in self._children if child.service.name == name)

    def tick(self) -> None:
        """Look after everything once: start again what died, not too often."""
        if self.postgres is not None and not self.postgres.alive():
            self._revive(self.postgres)
        for child in self._children:
            self._look_after(child)

    def stop(self) -> None:
        """Stop the services, last started first, then the database; leave no process behind."""
        for child in self._children if self.together else ():
            if child.process.poll() is None:
                child.process.terminate()
        while self._children:
            _stop(self._children.pop())
        if self.postgres is not None:
            self.postgres.stop()

    def log(self, name: str) -> Path | None:
        """Return the log file of a service, if it has one."""
        return self.folder / f"{name}.log" if self.folder is not None else None

    def _spawn(self, service: Service) -> subprocess.Popen[bytes]:
        with self._output(service.name) as output:
            return subprocess.Popen(  # noqa: S603 - our own commands, no shell
                tether.command([*service.argv]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches us alone; we stop the others in order
            )

    @contextlib.contextmanager
    def _output(self, name: str) -> Iterator[IO[bytes] | None]:
        log = self.log(name)
        if log is None:
            yield None
            return
        log.parent.mkdir(parents=True, exist_ok=True)
        mode = "wb" if log.exists() and log.stat().st_size > _KEPT_LOG else "ab"
        with log.open(mode) as output:
            yield output

    def _revive(self, postgres: EmbeddedPostgres) -> None:
        self.report("The database stopped; starting it again.")
        try:
            postgres.start()
        except EmbeddedPostgresError as error:
            self.report(str(error))

    def _look_after(self, child: _Child) -> None:
        now = self.clock()
        if child.process.poll() is None:
            if now - child.started > SOUND_AFTER:
                child.pause = FIRST_PAUSE
        elif child.restart_at is None:
            child.restart_at = now + child.pause
            log = self.log(child.service.name)
            self.report(
                f"{child.service.name} ended ({_fate(child.process.returncode)}); "
                f"starting it again in {child.pause:.0f} s.{f' Its log: {log}' if log else ''}"
            )
            child.pause = min(child.pause * 2, LONGEST_PAUSE)
        elif now >= child.restart_at:
            child.process, child.started = self._spawn(child.service), now
            child.restart_at = None


def _fate(returncode: int) -> str:
    """Say how a process ended."""
    if returncode < 0:
        return signal.Signals(-returncode).name
    return f"exit code {returncode}"


def _stop(child: _Child) -> None:
    """Ask the process to finish, and end its whole group when it does not."""
    process = child.process
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(child.service.patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


class StopRequested(BaseException):
    """Somebody asked us to stop; nothing that handles errors may catch it."""


@contextlib.contextmanager
def stop_on_signals() -> Iterator[None]:
    """Raise `StopRequested` on the first Ctrl-C, SIGTERM or hang-up; ignore those that follow."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def ask(number: int, frame: object) -> None:
        for one in signals:
            signal.signal(one, signal.SIG_IGN)
        raise StopRequested

    before = {one: signal.signal(one, ask) for one in signals}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def bracketed(host: str) -> str:
    """Return the host as it stands before a port."""
    return f"[{host}]" if ":" in host else host


def web_service(*, host: str, port: int, folder: Path, threads: int = 8) -> Service:
    """Return the web server as a service."""
    return Service(
        "web",
        [
            *(sys.executable, "-m", "gunicorn", "leaderboard.wsgi:application"),
            f"--bind={bracketed(host)}:{port}",
            f"--chdir={folder}",
            "--worker-class=gthread",
            f"--threads={threads}",
            "--timeout=60",
            "--graceful-timeout=10",
            "--no-control-socket",
        ],
        patience=20.0,
    )


def command_service(name: str, *arguments: str, manage: Path, patience: float = 60.0) -> Service:
    """Return one of our own commands as a service."""
    return Service(name, [sys.executable, str(manage), *arguments], patience=patience)
