"""Workers whose clocks are wrong by minutes: only the database's clock decides."""

from __future__ import annotations

import pytest
from django.db import connection

from leaderboard.runs.invariants import broken
from leaderboard.runs.models import Attempt, SampleResult, State, Worker
from tests.faults.conftest import Processes, ended, wait_for

pytestmark = [pytest.mark.faults]

WRONG_CLOCK = """
import datetime as _datetime, os as _os, time as _time
from django.utils import timezone as _timezone

_wrong = float(_os.environ["WRONG_BY"])
_clock, _now = _time.time, _timezone.now
_time.time = lambda: _clock() + _wrong
_timezone.now = lambda: _now() + _datetime.timedelta(seconds=_wrong)
"""
"""Read with the settings, before anything else: every clock of the wall that a worker may ask."""


def database_time():
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]


def test_clocks_five_minutes_off_change_nothing(database_url, tmp_path, submit):
    """R15: one worker lives in the past and one in the future; each lease lasts three seconds."""
    found = Processes(database_url, tmp_path)
    with (tmp_path / "fault_settings.py").open("a") as settings:
        settings.write(WRONG_CLOCK)
    started = database_time()
    try:
        runs = [submit(limit=96, slices=24, seed=seed, delay=0.1) for seed in range(3)]
        found.worker("--no-celery", WRONG_BY="-300")
        found.worker("--no-celery", WRONG_BY="300")
        wait_for(lambda: ended(*runs), 90, "all runs have ended")
    finally:
        found.stop()
    ended_at = database_time()
    assert {run.state for run in runs} == {State.COMPLETED}
    assert set(Attempt.objects.values_list("outcome", flat=True)) == {"completed"}
    assert Attempt.objects.count() == 12
    assert len(set(Attempt.objects.values_list("worker", flat=True))) == 2
    times = [*SampleResult.objects.values_list("committed_at", flat=True)]
    times += Worker.objects.values_list("last_seen", flat=True)
    times += [time for run in runs for time in (run.started_at, run.finished_at)]
    assert started < min(times) < max(times) < ended_at
    assert broken() == []
