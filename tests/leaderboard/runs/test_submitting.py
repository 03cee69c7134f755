"""What people ask for is checked, written once, and can be called off and taken up again."""

from __future__ import annotations

import threading

import pytest
from django.db import connection
from django.test import override_settings

from evaluators.errors import BadParameter, BrokenPlugin, NotInstalled
from evaluators.tasks import TaskSpec
from evaluators.tasks.suite import SuiteTask
from leaderboard.catalog.models import EvaluatorVersion
from leaderboard.runs import services
from leaderboard.runs.errors import IllegalMove, MissingCapability, QuotaUsedUp, UnknownSuite
from leaderboard.runs.invariants import broken
from leaderboard.runs.models import Run, SampleResult, Shard, State, Submission
from tests.leaderboard.runs.conftest import TASK, echo, prepared, suite_of


class TestSubmitting:
    def test_writes_a_run_per_evaluator_with_its_shards_and_first_event(self, submit):
        single, reask = submit("single_pass", "reask", limit=24)
        assert (single.state, reask.state) == (State.QUEUED, State.QUEUED)
        assert reask.params == {"rounds": 1}
        assert list(reask.shards.values_list("task", "offset", "size")) == [(TASK, 0, 24)]
        assert list(reask.events.values_list("seq", "from_state", "to_state")) == [
            (1, "", "QUEUED")
        ]
        assert single.submission == reask.submission

    def test_the_same_again_is_the_run_that_exists(self, submit, user):
        (first,) = submit("reask", limit=24)
        again = services.submit(
            user=user,
            model=first.model,
            suite=first.suite,
            evaluators=[("reask", {"rounds": "1"})],
            limit=24,
        )
        assert again.runs == (first,)
        assert again.existing == {first.pk}
        assert again.submission == first.submission
        assert Submission.objects.count() == 1

    @pytest.mark.parametrize("change", [{"limit": 25}, {"seed": 1}, {"rounds": 2}])
    def test_another_wish_is_another_run(self, submit, change):
        (first,) = submit("reask", limit=24)
        (second,) = submit("reask", **{"limit": 24, **change})
        assert first != second

    def test_eight_at_once_make_one_run(self, transactional_db, submit):
        found, start = [], threading.Barrier(8)

        def ask():
            start.wait()
            try:
                found.extend(submit("reask", limit=24))
            finally:
                connection.close()

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len({run.pk for run in found}) == Run.objects.count() == 1
        assert Submission.objects.count() == 1
        assert broken() == []

    @override_settings(REDRAFT_SLICE_SAMPLES=100)
    def test_cuts_a_long_task_into_slices(self, submit):
        (run,) = submit("reask", limit=None)
        assert list(run.shards.values_list("offset", "size")) == [(0, 100), (100, 100), (200, 40)]

    def test_leaves_the_size_open_while_nobody_has_loaded_the_task(self, submit):
        unknown = suite_of(SuiteTask(TaskSpec(TASK), 50), name="unknown")
        (run,) = submit("reask", on=unknown, limit=None)
        assert list(run.shards.values_list("size", flat=True)) == [None]


class TestRefusals:
    def refused(self, submit, error, *names, **wish):
        with pytest.raises(error) as caught:
            submit(*names, **wish)
        assert (Submission.objects.count(), Run.objects.count(), Shard.objects.count()) == (0, 0, 0)
        return str(caught.value)

    def test_refuses_an_evaluator_that_is_not_installed(self, submit):
        assert "Did you mean reask" in self.refused(submit, NotInstalled, "reassk")

    def test_refuses_a_broken_plugin(self, submit):
        EvaluatorVersion.objects.filter(name="reask").update(problem="ImportError: no tea")
        assert "no tea" in self.refused(submit, BrokenPlugin, "reask")

    @pytest.mark.parametrize("params", [{"rounds": 0}, {"rounds": "many"}, {"turns": 1}])
    def test_refuses_a_parameter_that_the_evaluator_does_not_take(self, submit, params):
        (name,) = params
        message = self.refused(submit, BadParameter, "single_pass", "reask", **params)
        assert name in message

    @pytest.mark.parametrize("wish", [{"limit": 0}, {"limit": -3}, {"seed": -1}])
    def test_refuses_numbers_out_of_range(self, submit, wish):
        assert "must be from" in self.refused(submit, BadParameter, "reask", **wish)

    def test_refuses_a_conversation_with_a_model_that_has_no_chat_template(self, submit):
        model = echo()
        model.has_chat_template = False
        message = self.refused(submit, MissingCapability, "reask", model=model)
        assert "no chat template" in message

    def test_refuses_a_suite_that_was_replaced(self, submit, suite):
        suite.current = False
        self.refused(submit, UnknownSuite, "reask")

    @override_settings(REDRAFT_SUBMISSIONS_PER_DAY=2)
    def test_refuses_more_submissions_than_a_day_has(self, submit):
        submit("reask", seed=1)
        submit("reask", seed=2)
        with pytest.raises(QuotaUsedUp):
            submit("reask", seed=3)
        assert Run.objects.count() == 2


class TestCancelling:
    def test_a_waiting_run_ends_at_once(self, submit):
        (run,) = submit()
        services.cancel(run=run, actor="user:1")
        assert (run.state, run.failure_id) == (State.CANCELLED, "run:user:cancelled")
        assert broken() == []

    def test_a_run_in_work_ends_when_its_worker_lets_go(self, submit, begin):
        (run,) = submit()
        held = begin()
        services.cancel(run=run, actor="user:1")
        assert run.state == State.RUNNING
        assert services.beat("worker-1", {held.shard: held.fence}) == {held.shard: True}
        failure = services.leases.CANCELLED
        services.release(held, services.Ending("cancelled", failure))
        run.refresh_from_db()
        assert (run.state, run.failure_id) == (State.CANCELLED, "run:user:cancelled")
        assert broken() == []

    def test_what_has_ended_stays_as_it_is(self, submit):
        (run,) = submit()
        services.cancel(run=run, actor="user:1")
        events = run.events.count()
        services.cancel(run=run, actor="user:1")
        assert run.events.count() == events


class TestRetrying:
    def test_goes_on_from_what_was_scored(self, submit, begin):
        (run,) = submit(limit=24)
        held = begin()
        services.commit_batch(held, prepared(*range(10)))
        services.commit_batch(held, prepared(10, 11, status="unscored"))
        services.release(
            held, services.Ending("failed", services.leases.Failure("run:app:internal", "x"))
        )
        run.refresh_from_db()
        again = services.retry(run=run, actor="user:1")
        assert (again.retry_of, again.state, again.identity) == (run, State.QUEUED, run.identity)
        assert again.shards.get().progress_done == 10
        copied = SampleResult.objects.filter(run=again).order_by("position")
        hashes = SampleResult.objects.filter(run=run, status="ok").order_by("position")
        assert list(copied.values_list("row_hash")) == list(hashes.values_list("row_hash"))
        assert broken() == []

    def test_keeps_the_cuts_and_takes_up_what_is_missing(self, submit, begin, take):
        (run,) = submit(limit=24)
        held = begin()
        services.commit_batch(held, prepared(0, 1))
        services.cancel(run=run, actor="user:1")
        services.release(held, services.Ending("cancelled", services.leases.CANCELLED))
        run.refresh_from_db()
        services.retry(run=run, actor="user:1")
        assert services.present(take("worker-2")) == {("0", 0), ("1", 0)}

    def test_twice_is_once(self, submit):
        (run,) = submit()
        services.cancel(run=run, actor="user:1")
        first = services.retry(run=run, actor="user:1")
        assert services.retry(run=run, actor="user:1") == first

    def test_refuses_a_run_that_goes_on(self, submit):
        (run,) = submit()
        with pytest.raises(IllegalMove):
            services.retry(run=run, actor="user:1")
