"""Brings up a whole server on one machine: database, tables, plugins, admin, web, workers."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from leaderboard.core.database import use_database
from leaderboard.core.postgres import EmbeddedPostgres
from leaderboard.core.postgres_home import EmbeddedPostgresError, write_private
from leaderboard.core.supervisor import Supervisor, bracketed, command_service, web_service

WEB_SECONDS = 60.0
"""How long the web server may take to answer for the first time."""
ADMIN = "admin"
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what to say for "everywhere"

Report = Callable[[str], None]


@dataclass(frozen=True)
class Wishes:
    """What the person at the terminal asked for."""

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    """Processes that evaluate; 0 serves pages only."""

    @property
    def url(self) -> str:
        """Return where a browser on this machine finds the site."""
        host = _LOOPBACK.get(self.host, self.host)
        return f"http://{bracketed(host)}:{self.port}/"


@contextlib.contextmanager
def running_stack(wishes: Wishes, *, report: Report) -> Iterator[Supervisor]:
    """Start everything, yield once the site answers, and stop everything afterwards."""
    check_address(wishes)
    var = Path(settings.REDRAFT_VAR)
    os.environ["REDRAFT_VAR"] = str(var)  # absolute: services may run in another folder
    supervisor = Supervisor(folder=var / "log", report=report)
    try:
        _open_database(supervisor, var, report)
        prepare(var, report)
        _start_services(supervisor, wishes)
        _await_site(supervisor, wishes)
        yield supervisor
    except EmbeddedPostgresError as error:
        raise CommandError(str(error)) from None
    finally:
        supervisor.stop()


def check_address(wishes: Wishes) -> None:
    """Refuse an address that cannot be served, before anything is started."""
    family = socket.AF_INET6 if ":" in wishes.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((wishes.host, wishes.port))
        except (OSError, OverflowError) as error:
            raise CommandError(
                f"{wishes.host}:{wishes.port} cannot be used ({error}): choose another with --port."
            ) from None


def prepare(var: Path, report: Report) -> None:
    """Bring tables, installed plugins, admin account and static files up to date."""
    report("Preparing tables, plugins and pages.")
    call_command("migrate", interactive=False, verbosity=0)
    call_command("sync_plugins", verbosity=0, stdout=io.StringIO())  # stdout is for a result
    _ensure_admin(var, report)
    call_command("collectstatic", interactive=False, verbosity=0)


def _open_database(supervisor: Supervisor, var: Path, report: Report) -> None:
    """Start the embedded server, unless the environment names another."""
    if os.environ.get("DATABASE_URL"):
        return
    report("Starting the embedded PostgreSQL.")
    supervisor.postgres = EmbeddedPostgres(var, system_user=settings.REDRAFT_POSTGRES_USER)
    use_database(supervisor.postgres.start())


def _ensure_admin(var: Path, report: Report) -> None:
    """Make the first account, with a random password that is shown once and kept in a file."""
    users = get_user_model().objects
    kept = var / "admin_password"
    if users.filter(is_superuser=True).exists():
        return
    password = secrets.token_urlsafe(12)
    write_private(kept, password + "\n")
    users.create_superuser(ADMIN, password=password)
    report(f"Made the account {ADMIN} with password {password} (kept in {kept}).")


def _start_services(supervisor: Supervisor, wishes: Wishes) -> None:
    manage = Path(settings.BASE_DIR) / "manage.py"
    supervisor.start(web_service(host=wishes.host, port=wishes.port, folder=manage.parent))
    for number in range(1, wishes.workers + 1):
        name = "worker" if wishes.workers == 1 else f"worker-{number}"
        supervisor.start(command_service(name, "worker", manage=manage))
    if wishes.workers:
        supervisor.start(
            command_service("sweeper", "sweep", "--forever", manage=manage, patience=10)
        )


def _await_site(supervisor: Supervisor, wishes: Wishes) -> None:
    """Wait until the site answers, looking after the services meanwhile."""
    deadline = time.monotonic() + WEB_SECONDS
    while not _answers(f"{wishes.url}healthz"):
        supervisor.tick()
        if time.monotonic() > deadline:
            raise CommandError(
                f"The web server did not answer within {WEB_SECONDS:.0f} s; "
                f"see {supervisor.log('web')}"
            )
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - our own http address
            return bool(response.status == 200)
    except OSError:
        return False
