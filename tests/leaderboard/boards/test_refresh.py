"""Board rows follow run events, once each, whoever looks and however often."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection

from leaderboard.boards.models import Entry, EventCursor
from leaderboard.boards.services import CURSOR, decompose_run, refresh
from leaderboard.runs import services
from leaderboard.runs.invariants import broken
from leaderboard.runs.models import Event, Run, State
from leaderboard.runs.services.clock import ClockTimestamp
from leaderboard.runs.services.rows import prepare
from tests.leaderboard.runs.conftest import (  # noqa: F401 - fixtures
    begin,
    evaluators,
    result,
    submit,
    suite,
    take,
    user,
)

RIGHT = [(True, True)] * 5 + [(True, False)] * 2 + [(False, True)] * 3 + [(False, False)] * 6


@pytest.fixture
def completed(submit, begin):  # noqa: F811 - fixtures
    """A completed run whose board row nobody has made yet."""

    def complete(seed=0) -> Run:
        (run,) = submit("reask", limit=len(RIGHT), seed=seed)
        held = begin()
        batch = [prepare(result(n, right=r), position=n) for n, r in enumerate(RIGHT)]
        services.commit_batch(held, batch)
        assert services.finish(held)
        run.refresh_from_db()
        return run

    return complete


def test_a_completed_run_gets_its_row(completed):
    run = completed()
    assert refresh() == 1
    entry = run.entry
    assert (entry.n, entry.n_total, entry.net_flips) == (16, 16, 1)
    assert (entry.acc_first, entry.acc_last, entry.delta) == (7 / 16, 8 / 16, 1 / 16)
    assert (entry.cl, entry.cs) == (5 / 7, 3 / 9)
    assert (entry.calls, entry.tokens_out) == (2, 4)
    (task,) = entry.tasks.all()
    assert task.decomposition["cells"] == {"cc": 5, "ci": 2, "ic": 3, "ii": 6}
    stored = decompose_run(run)["echo_flips"].to_json()
    assert task.decomposition == stored


def test_again_changes_nothing(completed):
    completed()
    assert (refresh(), refresh()) == (1, 0)
    assert Entry.objects.count() == 1


def test_other_runs_get_none(submit):  # noqa: F811 - fixture
    (run,) = submit("reask")
    services.cancel(run=run, actor="user:1")
    assert refresh() == 0
    assert not Entry.objects.exists()


def test_the_cursor_passes_only_what_is_settled(completed):
    first = completed()
    refresh()
    assert EventCursor.objects.get(name=CURSOR).last_event == 0
    Event.objects.update(at=ClockTimestamp() - timedelta(minutes=6))
    last = Event.objects.order_by("pk").last().pk
    second = completed(seed=1)
    assert refresh() == 1
    assert EventCursor.objects.get(name=CURSOR).last_event == last
    assert set(Entry.objects.values_list("run", flat=True)) == {first.pk, second.pk}


def test_four_at_once_make_one_row(transactional_db, completed):
    run = completed()
    start = threading.Barrier(4)
    made = []

    def go():
        start.wait()
        try:
            made.append(refresh())
        finally:
            connection.close()

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [0, 0, 0, 1]
    assert Entry.objects.get().run == run
    assert Entry.objects.get().tasks.count() == 1


def test_an_oracle_stands_apart(completed):
    run = completed()
    Run.objects.filter(pk=run.pk).update(oracle=True)
    refresh()
    assert Entry.objects.get().oracle
    assert run.state == State.COMPLETED


def test_trajectories_of_one_question_are_one_cluster(submit, begin):  # noqa: F811 - fixtures
    (run,) = submit("reask", limit=len(RIGHT), replicates=4)
    held = begin()
    batch = [
        prepare(replace(result(n, right=r), replicate=k), position=n)
        for n, r in enumerate(RIGHT)
        for k in range(4)
    ]
    services.commit_batch(held, batch)
    assert services.finish(held)
    refresh()
    entry = Entry.objects.get(run=run)
    assert (entry.n, entry.n_total, entry.acc_first, entry.cl) == (64, 64, 7 / 16, 5 / 7)
    estimates = entry.tasks.get().decomposition["estimates"]
    methods = {name: estimates[name]["method"] for name in ("acc@1", "delta", "CL")}
    assert all("cluster" in method for method in methods.values()), methods
    alike = estimates["acc@1"]
    # Four equal copies of each question say no more than one: the interval is no narrower.
    assert alike["high"] - alike["low"] > 0.35
    assert broken() == []
