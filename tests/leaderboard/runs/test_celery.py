"""A real Celery worker in a thread: hints may come ten times or not at all."""

from __future__ import annotations

import random
import threading
import time

import pytest
from django.test import override_settings
from kombu.exceptions import OperationalError

from leaderboard.celery import QUEUES, app
from leaderboard.runs import tasks
from leaderboard.runs.hints import HintReceiver
from leaderboard.runs.models import Attempt, State
from leaderboard.runs.nudges import listen
from leaderboard.runs.tasks import HintSender, execute_run, hint, wait_for_hints


def until(condition, seconds=10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())


@pytest.fixture
def receiver():
    """A Celery worker with a pool of threads on the broker of the tests."""
    found = HintReceiver(["cpu"])
    found.start()
    yield found
    found.stop()


@pytest.fixture
def nudges():
    """Every nudge that reaches this process."""
    found = []
    forget = listen(lambda: found.append(time.monotonic()))
    yield found
    forget()


class TestSettings:
    def test_messages_are_acknowledged_early_and_carry_json_only(self):
        conf = app.conf
        assert (conf.task_acks_late, conf.task_reject_on_worker_lost) == (False, False)
        assert (list(conf.accept_content), conf.task_serializer) == (["json"], "json")
        assert (conf.task_ignore_result, conf.result_backend) == (True, None)
        assert conf.task_create_missing_queues is False
        assert {queue.name for queue in conf.task_queues} == set(QUEUES)

    def test_eager_mode_is_off(self):
        assert not app.conf.task_always_eager


class TestHints:
    def test_a_hint_nudges_the_claimer(self, receiver, nudges, transactional_db, submit):
        hint(submit("reask"))
        wait_for_hints()
        assert until(lambda: nudges)

    def test_unknown_arguments_of_a_newer_version_do_no_harm(self, receiver, nudges):
        execute_run.apply_async(args=(1,), kwargs={"priority": 3}, queue="cpu")
        assert until(lambda: nudges)

    def test_every_hint_ten_times_makes_one_attempt(self, receiver, submit, work):
        runs = [submit("reask", seed=seed)[0] for seed in range(3)]
        messages = [run.pk for run in runs] * 10
        random.Random(7).shuffle(messages)  # noqa: S311 - seeded on purpose
        for pk in messages:
            execute_run.apply_async(args=(pk,), queue="cpu")
        work()
        for run in runs:
            run.refresh_from_db()
        assert {run.state for run in runs} == {State.COMPLETED}
        assert Attempt.objects.count() == 3

    def test_no_hint_at_all_loses_nothing(self, submit, work):
        (run,) = submit("reask")
        work()
        run.refresh_from_db()
        assert run.state == State.COMPLETED

    def test_a_broker_that_refuses_delays_nobody(self):
        tried = []

        def refuse(run_id, queue):
            time.sleep(0.2)
            tried.append((run_id, queue))
            raise OperationalError("connection refused")

        sender = HintSender(refuse)
        started = time.monotonic()
        for run_id in range(3):
            sender.put(run_id, "cpu")
        assert time.monotonic() - started < 0.1
        sender.wait()
        assert tried == [(0, "cpu"), (1, "cpu"), (2, "cpu")]

    def test_hints_wait_for_the_commit(self, db, submit, django_capture_on_commit_callbacks):
        (run,) = submit("reask")
        with django_capture_on_commit_callbacks() as waiting:
            hint([run])
        assert len(waiting) == 1


class TestChores:
    def test_the_sweeper_is_a_chore_as_well(self, receiver, transactional_db, submit, begin):
        from tests.leaderboard.runs.conftest import expire

        submit("reask")
        expire(begin())
        tasks.sweep.apply_async(queue="chores")
        assert until(lambda: Attempt.objects.get().outcome == "lost")


def test_a_worker_process_listens_and_polls(transactional_db, submit):
    """The whole worker: Celery in its thread, the claimer on the main one."""
    import os
    import signal

    from leaderboard.runs.worker import WorkerOptions, run_worker

    (run,) = submit("reask")

    def stop_when_done():
        from django.db import connection

        until(lambda: type(run).objects.get(pk=run.pk).state == State.COMPLETED, 20)
        connection.close()
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop_when_done)
    thread.start()
    with override_settings(REDRAFT_POLL_SECONDS=0.2):
        assert run_worker(WorkerOptions(celery=True)) == 0
    thread.join()
    run.refresh_from_db()
    assert run.state == State.COMPLETED
    assert run.entry.n == 24
