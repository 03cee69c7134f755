"""Fixtures of the end-to-end tests: a whole server as `manage.py up` starts it, and a browser."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
SUITE = """
from evaluators.tasks.suite import load_suite
from leaderboard.catalog.services import record_suite
record_suite(load_suite({path!r}))
"""
FLIPS = """
name = "flips"
version = "1"
summary = "Questions whose answers the echo flips in every way."

[[tasks]]
name = "echo_flips"
"""


class Site:
    """A server with its own database, web process, worker and sweeper."""

    def __init__(self, folder: Path, *paths: Path, **settings: str) -> None:
        self.folder = folder
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {
            **{key: value for key, value in os.environ.items() if key != "DATABASE_URL"},
            "REDRAFT_VAR": str(folder / "var"),
            "PYTHONPATH": os.pathsep.join(map(str, (*paths, REPOSITORY))),
            "REDRAFT_POLL_SECONDS": "0.2",
            "OMP_NUM_THREADS": "1",
            **settings,
        }
        self._environment.pop("DJANGO_SETTINGS_MODULE", None)
        self._log = (folder / "up.log").open("wb")
        self._process = self._manage_in_background("up", "--port", str(self.port))
        self._wait()

    @property
    def password(self) -> str:
        """Of the account `admin`, which `up` makes."""
        return (self.folder / "var" / "admin_password").read_text().strip()

    def manage(self, *arguments: str) -> str:
        """Run a management command against this server."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(
            command,
            cwd=REPOSITORY,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            self._log.close()

    def _manage_in_background(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.Popen(
            command, cwd=REPOSITORY, env=self._environment, stdout=self._log, stderr=self._log
        )

    def _wait(self, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/healthz", timeout=2):  # noqa: S310 - our own
                    return
            except OSError:
                log = (self.folder / "up.log").read_text()
                assert self._process.poll() is None, log
                assert time.monotonic() < deadline, log
            time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_site(*paths: Path, **settings: str) -> Site:
    """Start a server in a folder that the database's own user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="redraft-e2e-"))
    folder.chmod(0o711)
    site = Site(folder, *paths, **settings)
    (folder / "flips.toml").write_text(FLIPS)
    site.manage("shell", "--no-imports", "-c", SUITE.format(path=str(folder / "flips.toml")))
    return site


def end_site(site: Site) -> None:
    site.stop()
    shutil.rmtree(site.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    found = start_site()
    yield found
    end_site(found)


@pytest.fixture
def plugin_folder(tmp_path: Path) -> Path:
    """The example plugin, installed as a stranger's package would be."""
    example = REPOSITORY / "plugins" / "example"
    if not example.exists():
        pytest.skip("plugins/example is not in this checkout")
    build = tmp_path / "source"
    shutil.copytree(example, build)
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
    ]
    target = tmp_path / "installed"
    subprocess.run([*command, "--target", str(target), str(build)], check=True)
    return target


@pytest.fixture
def plugin_site(plugin_folder: Path) -> Iterator[Site]:
    """A server that has the example plugin besides the bundled ones."""
    found = start_site(plugin_folder)
    yield found
    end_site(found)


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium, driven by Playwright.

    While it is open its event loop counts as running, and no asynchronous test could run.
    """
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()
