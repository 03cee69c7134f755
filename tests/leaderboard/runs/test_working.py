"""A worker takes runs from submission to a sealed result, on the echo runtime."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from django.db import connection
from django.test import override_settings

from evaluators.tasks import TaskSpec
from evaluators.tasks.suite import SuiteTask
from leaderboard.boards.models import Entry
from leaderboard.catalog.models import EvaluatorVersion, Suite
from leaderboard.runs import services
from leaderboard.runs.invariants import broken
from leaderboard.runs.models import Attempt, Generation, Node, Run, SampleResult, Shard, State
from leaderboard.runs.models.work import TERMINAL
from leaderboard.runs.worker import WorkerOptions, run_worker
from tests.leaderboard.runs.conftest import TASK, echo, record, suite_of

FLIPS = {"cc": 9, "ci": 3, "ic": 4, "ii": 8}
"""What every 24 samples of the task hold."""


@pytest.fixture(autouse=True)
def short_waits():
    with override_settings(REDRAFT_BACKOFF_SECONDS=0.05, REDRAFT_HEARTBEAT_SECONDS=0.1):
        yield


def flips(run: Run) -> dict[str, int]:
    found = list(SampleResult.objects.filter(run=run).values_list("flip", flat=True))
    return {flip: found.count(flip) for flip in sorted(set(found))}


def meanwhile(action, *, when) -> threading.Thread:
    """Do something in another thread as soon as a condition holds."""

    def wait_and_act():
        try:
            deadline = time.monotonic() + 20
            while not when() and time.monotonic() < deadline:
                time.sleep(0.02)
            action()
        finally:
            connection.close()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


def some_samples() -> bool:
    return SampleResult.objects.exists()


def ended(run: Run) -> tuple[str, str]:
    run.refresh_from_db()
    return (run.state, run.failure_id)


def until_ended(run: Run, work, **numbers) -> None:
    """Work again after every back-off, which in these tests is short."""
    for _ in range(20):
        work(**numbers)
        if ended(run)[0] in TERMINAL:
            return
        time.sleep(0.1)


class TestCompleting:
    def test_a_run_goes_from_submission_to_a_sealed_result(self, submit, work):
        (run,) = submit("reask", limit=24)
        work()
        assert ended(run) == (State.COMPLETED, "")
        assert flips(run) == FLIPS
        assert run.manifest["tasks"][TASK]["size"] == 240
        assert broken() == []

    def test_the_board_has_the_row_at_once(self, submit, work):
        (run,) = submit("reask", limit=24)
        work()
        entry = Entry.objects.get(run=run)
        assert (entry.n, entry.n_total, entry.net_flips) == (24, 24, 1)
        assert (entry.acc_first, entry.acc_last) == (12 / 24, 13 / 24)
        assert (entry.cl, entry.cs) == (9 / 12, 4 / 12)

    def test_methods_share_their_first_answers(self, submit, work):
        single, reask = submit("single_pass", "reask", limit=24)
        work()
        assert (ended(single), ended(reask)) == ((State.COMPLETED, ""), (State.COMPLETED, ""))
        # 24 first answers and 24 second ones are generated, although 72 calls were made
        assert Generation.objects.count() == 48
        assert Node.objects.filter(cached=True).count() == 24

    def test_the_first_run_learns_how_long_a_task_is(self, submit, work, suite):
        Suite.objects.update(sizes={})
        (run,) = submit("single_pass", limit=30, on=Suite.objects.get())
        work()
        assert ended(run) == (State.COMPLETED, "")
        assert run.shards.get().size == 30
        assert Suite.objects.get().sizes == {TASK: 240}

    @override_settings(REDRAFT_SLICE_SAMPLES=10)
    def test_slices_add_up_to_the_task(self, submit, work):
        (run,) = submit("reask", limit=24)
        work()
        assert ended(run) == (State.COMPLETED, "")
        assert run.shards.count() == 3
        assert flips(run) == FLIPS
        positions = run.results.order_by("position").values_list("position", flat=True)
        assert list(positions) == list(range(24))
        assert broken() == []

    def test_nothing_missing_needs_no_runtime(self, submit, work):
        (run,) = submit("reask", limit=24)
        work()
        Run.objects.filter(pk=run.pk).update(state=State.FAILED)
        run.refresh_from_db()
        Generation.objects.all().delete()
        again = services.retry(run=run, actor="user:1")
        work("worker-2")
        assert ended(again) == (State.COMPLETED, "")
        assert Generation.objects.count() == 0


class TestFailing:
    def test_refuses_a_model_at_once(self, submit, work, suite):
        model = echo()
        model.args = {"no_such_argument": 1}
        model.save()
        (run,) = submit("reask", model=model)
        work()
        assert ended(run) == (State.FAILED, "run:user:model-unusable")
        assert "no_such_argument" in run.failure_detail
        assert Attempt.objects.get().outcome == "failed"

    def test_refuses_a_task_at_once_and_spares_the_neighbours(self, submit, work):
        bad = suite_of(SuiteTask(TaskSpec("no_such_task_at_all")), name="bad")
        (broken_run,) = submit("reask", on=bad)
        (good,) = submit("reask", limit=24)
        work()
        assert ended(broken_run) == (State.FAILED, "run:user:task-unusable")
        assert "no_such_task_at_all" in broken_run.failure_detail
        assert ended(good) == (State.COMPLETED, "")
        assert broken() == []

    def test_refuses_what_the_runtime_cannot_do(self, submit, work, needy):
        """What the form could not know, the worker finds out."""
        EvaluatorVersion.objects.filter(pk=needy.pk).update(requires=["chat"])
        (run,) = submit("needy")
        work()
        assert ended(run) == (State.FAILED, "run:user:capability-missing")
        assert "full_vocab_stats" in run.failure_detail

    def test_leaves_runs_of_another_plugin_version(self, submit, work):
        (run,) = submit("reask")
        EvaluatorVersion.objects.filter(name="reask").update(digest="of other code")
        work()
        assert ended(run) == (State.QUEUED, "")

    def test_a_runtime_that_dies_is_replaced_until_all_is_done(self, submit, work):
        (run,) = submit("single_pass", limit=24, model=echo(fail_after=10))
        until_ended(run, work, samples_in_flight=4, batch_samples=4)
        assert ended(run) == (State.COMPLETED, "")
        assert Attempt.objects.filter(outcome="lost").count() >= 2
        assert SampleResult.objects.exclude(status="ok").count() == 0
        assert broken() == []

    def test_a_runtime_that_dies_without_progress_is_quarantined(self, submit, work):
        (run,) = submit("reask", limit=24, model=echo(fail_after=1))
        until_ended(run, work, batch_samples=1)
        assert ended(run) == (State.QUARANTINED, "run:app:quarantined")
        assert Attempt.objects.count() == 3
        assert broken() == []

    # a wait drawn from a month: the run is not taken up again before this test looks at it
    @override_settings(REDRAFT_BACKOFF_SECONDS=2.6e6, REDRAFT_BACKOFF_LIMIT_SECONDS=2.6e6)
    def test_a_runtime_that_says_nothing_is_given_up(self, submit, work):
        (run,) = submit("reask", limit=24, model=echo(delay=60.0))
        work(stall_seconds=0.5)
        assert ended(run) == (State.RETRY_WAIT, "")
        shard = run.shards.get()
        assert (shard.failure_id, shard.deaths_no_progress) == ("run:app:stalled", 0)
        assert Attempt.objects.get().outcome == "retry"
        assert broken() == []


class TestStopping:
    def test_a_cancelled_run_ends_while_its_neighbour_goes_on(self, submit, work):
        model = echo(delay=0.1)
        (run,) = submit("reask", limit=120, model=model)
        (other,) = submit("reask", limit=24, model=model, seed=1)
        thread = meanwhile(lambda: services.cancel(run=run, actor="user:1"), when=some_samples)
        work(batch_samples=4)
        thread.join()
        assert ended(run) == (State.CANCELLED, "run:user:cancelled")
        assert 0 < run.results.count() < 120
        assert ended(other) == (State.COMPLETED, "")
        assert broken() == []

    def test_a_shard_that_was_lost_is_let_go_at_once(self, submit, work):
        (run,) = submit("reask", limit=48, model=echo(delay=0.1))

        def take_away():
            Shard.objects.filter(run=run).update(fence=7)
            Attempt.objects.update(fence=7)

        thread = meanwhile(take_away, when=some_samples)
        work(batch_samples=4)
        thread.join()
        run.refresh_from_db()
        assert run.state == State.RUNNING  # nobody let go of it: the lease decides
        assert run.results.count() < 48

    def test_draining_keeps_what_is_done_and_gives_the_charge_back(self, submit, drained_work):
        (run,) = submit("reask", limit=120, model=echo(delay=0.1))
        took = drained_work(when=some_samples)
        assert took < 5
        shard = run.shards.get()
        counters = (shard.state, shard.attempts_charged, shard.deaths_no_progress)
        assert counters == (State.RETRY_WAIT, 0, 0)
        assert Attempt.objects.get().outcome == "drained"
        assert 0 < shard.progress_done < 120
        assert broken() == []
        drained_work(when=lambda: ended(run)[0] == State.COMPLETED)
        assert flips(run) == {flip: 5 * count for flip, count in FLIPS.items()}
        assert broken() == []


NEEDY = '''
from evaluators.api import Context, Outcome, Sample, evaluator, metrics


@evaluator(metrics=[*metrics.decomposition], requires=["chat", "full_vocab_stats"])
async def needy(ctx: Context, sample: Sample) -> Outcome:
    """Ask for what an echo cannot give."""
    return Outcome([await ctx.generate(sample.messages)])
'''


@pytest.fixture
def needy(transactional_db, evaluators, tmp_path, monkeypatch):
    """An installed plugin whose evaluator needs what the echo lacks."""
    (tmp_path / "needy_plugin.py").write_text(NEEDY)
    info = tmp_path / "needy-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: needy\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[redraft.evaluators]\nneedy = needy_plugin:needy\n")
    monkeypatch.syspath_prepend(tmp_path)
    return record("needy")


@pytest.fixture
def drained_work(transactional_db):
    """Run a whole worker until SIGTERM, sent when a condition holds; returns how long it took."""

    def run(*, when):
        at = []

        def terminate():
            at.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGTERM)

        with override_settings(REDRAFT_BATCH_SAMPLES=4):
            thread = meanwhile(terminate, when=when)
            assert run_worker(WorkerOptions(celery=False)) == 0
        thread.join()
        return time.monotonic() - at[0]

    return run
