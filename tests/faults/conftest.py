"""Fixtures of the fault tests: real worker processes on a real database, with short leases."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from django.test import override_settings

from evaluators.formats.results import to_line
from evaluators.registry import describe_evaluator
from evaluators.tasks import Suite as SuiteFile
from evaluators.tasks import TaskSpec
from evaluators.tasks.suite import SuiteTask
from leaderboard.accounts.models import User
from leaderboard.catalog.models import EvaluatorVersion
from leaderboard.catalog.services import note_sizes, record_suite, register_model
from leaderboard.runs import services
from leaderboard.runs.models import Node, Run, Shard
from leaderboard.runs.models.work import TERMINAL

REPOSITORY = Path(__file__).resolve().parents[2]
NUMBERS = {
    "REDRAFT_LEASE_SECONDS": 3.0,
    "REDRAFT_HEARTBEAT_SECONDS": 0.5,
    "REDRAFT_POLL_SECONDS": 0.2,
    "REDRAFT_SWEEP_SECONDS": 0.5,
    "REDRAFT_BATCH_SAMPLES": 8,
    "REDRAFT_BATCH_SECONDS": 0.5,
    "REDRAFT_BACKOFF_SECONDS": 0.1,
    "REDRAFT_DRAIN_SECONDS": 10.0,
    "REDRAFT_ENDPOINT_SLOTS": 1,
    "REDRAFT_SHARDS_AT_ONCE": 8,
}


@pytest.fixture(autouse=True)
def short_times():
    with override_settings(**NUMBERS):
        yield


class Processes:
    """Starts workers and finds what they leave behind."""

    def __init__(self, url: str, folder: Path, broker: str = "", **settings: object) -> None:
        lines = [f"{name} = {value!r}" for name, value in {**NUMBERS, **settings}.items()]
        if broker:
            lines += [f"CELERY_BROKER_URL = {broker!r}", "CELERY_BROKER_TRANSPORT_OPTIONS = {}"]
        text = "from leaderboard.settings.test import *\n" + "\n".join(lines)
        (folder / "fault_settings.py").write_text(text)
        self.log = folder / "worker.log"
        self.mark = str(folder / "cache")
        self._environment = {
            **os.environ,
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "fault_settings",
            "PYTHONPATH": f"{folder}{os.pathsep}{REPOSITORY}",
            "REDRAFT_CACHE": self.mark,
            "REDRAFT_VAR": str(folder / "var"),
        }
        self.started: list[subprocess.Popen] = []

    def worker(self, *options: str, **environment: str) -> subprocess.Popen:
        command = [sys.executable, "manage.py", "worker", *(options or ("--no-celery",))]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env={**self._environment, **environment},
                stdout=log,
                stderr=log,
            )
        self.started.append(process)
        return process

    def stop(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        for pid in self.alive():
            with suppress(ProcessLookupError):  # it was ending by itself
                os.kill(pid, signal.SIGKILL)
        # The kernel takes a moment to end what died with its namespace.
        wait_for(lambda: not self.alive(), 5, "the end of what was killed")

    def alive(self) -> list[int]:
        """Processes, zombies aside, that carry this test's mark in their environment."""
        mark = self.mark.encode()
        return [int(p.name) for p in Path("/proc").glob("[0-9]*") if mark in _environment(p)]


def _environment(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""


def descendants(pid: int) -> list[int]:
    """Children of a process, and theirs."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


@pytest.fixture
def processes(database_url, tmp_path):
    found = Processes(database_url, tmp_path)
    yield found
    found.stop()


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> float:
    """Wait until something holds; return how long that took."""
    started = time.monotonic()
    while not condition():
        waited = time.monotonic() - started
        assert waited < seconds, f"{what} is not so after {waited:.0f} s"
        time.sleep(0.05)
    return time.monotonic() - started


def ended(*runs: Run) -> bool:
    for run in runs:
        run.refresh_from_db()
    return all(run.state in TERMINAL for run in runs)


def export(run: Run) -> list[str]:
    """The run's results, byte by byte as they must be however often it was interrupted."""
    return [to_line(result, identity=True) for result in services.read_results(run)]


def done(*runs: Run) -> int:
    """Stored samples that need not be made again."""
    stored = Shard.objects.filter(run__in=runs).values_list("progress_done", flat=True)
    return sum(stored)


def kill(worker: subprocess.Popen) -> None:
    """SIGKILL for a worker and everything that it has started."""
    for pid in (worker.pid, *descendants(worker.pid)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    worker.wait()


def made_twice(run: Run) -> int:
    """Samples that one attempt finished and another stored: all their calls came from the store."""
    computed = Node.objects.filter(result__run=run, cached=False).values("result")
    return run.results.exclude(pk__in=computed).count()


@pytest.fixture
def submit(database_url):
    """Submit an evaluator for an echo with the given behaviour."""
    user = User.objects.create_user("submitter")
    card = describe_evaluator("reask")
    EvaluatorVersion.objects.create(
        name=card.name,
        distribution=card.distribution,
        version=card.version,
        digest=card.digest,
        target=card.target,
        requires=list(card.requires),
    )
    task = SuiteTask(TaskSpec("echo_flips"))
    suite = record_suite(SuiteFile("flips", "1", "For tests", (task,), digest="flips", path=None))
    note_sizes(suite.pk, {"echo_flips": 240})
    suite.refresh_from_db()

    def make(
        *, limit: int = 240, seed: int = 0, slices: int = 500, model: object = None, **echo: object
    ) -> Run:
        model = model or register_model(
            source="bundled",
            location="",
            runtime="echo",
            model_class="echo",
            args=echo,
            batch_size=8,
        )
        with override_settings(REDRAFT_SLICE_SAMPLES=slices):
            found = services.submit(
                user=user,
                model=model,
                suite=suite,
                evaluators=[("reask", {"rounds": 1})],
                limit=limit,
                seed=seed,
            )
        return found.runs[0]

    return make
