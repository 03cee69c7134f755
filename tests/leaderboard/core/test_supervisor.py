"""The supervisor against real processes: deaths, signals, order of stopping."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from django.core.management import CommandError

from leaderboard.core import tether
from leaderboard.core.stack import Wishes, check_address
from leaderboard.core.supervisor import Service, Supervisor
from leaderboard.settings.env import REPOSITORY

FOREVER = [sys.executable, "-c", "import time; time.sleep(600)"]
DIES = [sys.executable, "-c", "raise SystemExit(3)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True)\n"
    "while True: time.sleep(600)",
]


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path, clock, told) -> Iterator[Supervisor]:
    supervisor = Supervisor(folder=tmp_path, report=told.append, clock=clock)
    yield supervisor
    supervisor.stop()


def _until(happened: Callable[[], object], *, within: float = 15.0) -> None:
    deadline = time.monotonic() + within
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def _gone(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


class TestServices:
    def test_restarts_one_that_died_after_a_pause_that_doubles(self, supervisor, clock, told):
        supervisor.start(Service("worker", DIES))
        pids = []
        for pause in (1, 2, 4):
            pids.append(supervisor.pid("worker"))
            _until(lambda: _gone(pids[-1]))
            supervisor.tick()
            assert told[-1].startswith(
                f"worker ended (exit code 3); starting it again in {pause} s"
            )
            clock.now += pause - 0.1
            supervisor.tick()
            assert supervisor.pid("worker") == pids[-1]
            clock.now += 0.2
            supervisor.tick()
        assert len({*pids, supervisor.pid("worker")}) == 4

    def test_forgives_one_that_ran_long(self, supervisor, clock, told):
        supervisor.start(Service("web", FOREVER))
        for _ in range(2):
            clock.now += 61
            supervisor.tick()
            pid = supervisor.pid("web")
            os.kill(pid, signal.SIGKILL)
            _until(lambda: _gone(pid))  # noqa: B023 - called at once
            supervisor.tick()
            assert "web ended (SIGKILL); starting it again in 1 s" in told[-1]
            clock.now += 2
            supervisor.tick()

    def test_stops_the_last_started_first(self, supervisor):
        note = supervisor.folder / "order"
        script = (
            "import signal, sys, time\n"
            f"def end(*_): open({str(note)!r}, 'a').write(sys.argv[1]); sys.exit()\n"
            "signal.signal(signal.SIGTERM, end); print('up', flush=True)\n"
            "while True: time.sleep(600)"
        )
        for name in "abc":
            supervisor.start(Service(name, [sys.executable, "-c", script, name]))
            _until(lambda: "up" in supervisor.log(name).read_text())  # noqa: B023 - called at once
        supervisor.stop()
        assert note.read_text() == "cba"

    def test_kills_one_that_will_not_stop(self, supervisor):
        supervisor.start(Service("worker", STUBBORN, patience=0.2))
        _until(lambda: supervisor.log("worker").read_text())
        pid = supervisor.pid("worker")
        supervisor.stop()
        assert _gone(pid)


class TestTether:
    def test_a_child_dies_with_a_parent_that_was_killed(self):
        script = (
            "import subprocess, sys, time; from leaderboard.core import tether\n"
            "child = subprocess.Popen(tether.command(['sleep', '600']))\n"
            "print(child.pid, flush=True); time.sleep(600)"
        )
        parent = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
        )
        child = int(parent.stdout.readline())
        _until(lambda: psutil.Process(child).name() == "sleep")
        parent.kill()
        parent.wait()
        parent.stdout.close()
        _until(lambda: _gone(child))

    def test_refuses_to_run_for_a_parent_that_is_gone(self):
        command = tether.command(["true"])
        command[4] = "1"
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (
            1,
            "The process that asked for this one is gone.\n",
        )


class TestAddress:
    def test_refuses_a_port_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(CommandError, match=rf"127.0.0.1:{port} cannot be used .* --port"):
                check_address(Wishes(port=port))
        check_address(Wishes(port=port))

    @pytest.mark.parametrize(
        ("host", "url"),
        [
            ("127.0.0.1", "http://127.0.0.1:8000/"),
            ("0.0.0.0", "http://127.0.0.1:8000/"),  # noqa: S104 - compared, not bound
            ("::1", "http://[::1]:8000/"),
        ],
    )
    def test_says_where_a_browser_finds_it(self, host, url):
        assert Wishes(host=host).url == url


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _health(url: str) -> int:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}healthz") as answer:  # noqa: S310 - our own http address
        return int(answer.status)
    return 0


@dataclass
class Running:
    """An `up` that said where it is."""

    process: subprocess.Popen[str]
    url: str
    lines: list[str]

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> None:
        """Stop it, and wait for what an unclean end leaves to its own devices."""
        if self.process.poll() is None:
            family = self.family()
            self.process.terminate()
            self.process.wait(60)
            assert all(_gone(child.pid) for child in family)
        self.process.stderr.close()


def _command(var: Path) -> tuple[list[str], dict[str, str]]:
    kept = {k: v for k, v in os.environ.items() if k in {"PATH", "HOME"} or "COVERAGE" in k}
    manage = [sys.executable, str(REPOSITORY / "manage.py")]
    return (
        [*manage, "up", "--no-worker", "--port", str(_free_port())],
        {**kept, "REDRAFT_VAR": str(var)},
    )


def _up(var: Path) -> Running:
    argv, environment = _command(var)
    process = subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE, text=True, cwd="/")
    lines = []
    for line in process.stderr:
        lines.append(line)
        if found := re.search(r"Redraft is at (http://\S+/)", line):
            return Running(process, found[1], lines)
    raise AssertionError("".join(lines))


@pytest.fixture(scope="module")
def var() -> Iterator[Path]:
    var = Path(tempfile.mkdtemp(prefix="redraft-test-"))
    var.chmod(0o711)
    yield var
    shutil.rmtree(var)


@pytest.fixture(scope="module")
def first(var: Path) -> Running:
    """The first start on this data, stopped again."""
    running = _up(var)
    running.end()
    return running


@pytest.mark.faults
class TestUp:
    """`manage.py up` as people run it, without a worker."""

    @pytest.fixture
    def running(self, var, first) -> Iterator[Running]:
        running = _up(var)
        yield running
        running.end()

    def test_shows_the_admins_password_once(self, first, running, var):
        password = (var / "admin_password").read_text().strip()
        assert sum(password in line for line in first.lines) == 1
        assert not any(password in line for line in running.lines)

    def test_serves_until_asked_to_stop_and_leaves_nothing_running(self, running):
        family = running.family()
        assert {child.name() for child in family} >= {"postgres"}
        assert _health(running.url) == 200
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(60) == 0
        assert all(_gone(child.pid) for child in family)

    def test_starts_again_after_it_was_killed(self, running, var):
        family = running.family()
        running.process.kill()
        running.process.wait()
        _until(lambda: all(_gone(child.pid) for child in family), within=30)
        again = _up(var)
        assert _health(again.url) == 200
        again.end()

    def test_brings_the_database_back_after_it_was_killed(self, running):
        postmaster = next(child for child in running.family() if child.name() == "postgres")
        postmaster.kill()
        _until(lambda: _gone(postmaster.pid))
        _until(lambda: _health(running.url) == 200, within=30)

    def test_refuses_a_second_one_on_the_same_data(self, running, var):
        argv, environment = _command(var)
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert f"{var} is in use by process {running.process.pid}" in done.stderr
        assert _health(running.url) == 200
