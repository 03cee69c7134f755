"""What people ask for is checked, written once, and can be called off and taken up again."""

from __future__ import annotations

import threading

import pytest
from django.db import connection
from django.test import override_settings

from evaluators.errors import BadModel, BadParameter, BadTask, BrokenPlugin, NotInstalled
from evaluators.tasks import TaskSpec
from evaluators.tasks.suite import SuiteTask
from leaderboard.accounts.models import User
from leaderboard.catalog.models import EvaluatorVersion
from leaderboard.catalog.services import note_probed, register_endpoint
from leaderboard.runs import services
from leaderboard.runs.errors import IllegalMove, MissingCapability, QuotaUsedUp, UnknownSuite
from leaderboard.runs.invariants import broken
from leaderboard.runs.models import Run, SampleResult, Shard, State, Submission
from leaderboard.runs.services import making
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


class TestCapabilities:
    """What the runtime or the task does not allow is refused before anything is written."""

    def refused(self, submit, error, **wish):
        with pytest.raises(error) as caught:
            submit("reask", **wish)
        assert not Run.objects.exists()
        return str(caught.value)

    def test_refuses_what_the_runtime_does_not_offer(self, submit):
        EvaluatorVersion.objects.filter(name="reask").update(requires=["chat", "token_logprobs"])
        model = echo(capabilities="chat+prefix")
        message = self.refused(submit, MissingCapability, model=model)
        assert "needs token_logprobs (log-probabilities of the tokens it generates)" in message
        assert "its runtime echo does not offer" in message

    def test_what_was_found_when_it_ran_counts_more(self, submit):
        EvaluatorVersion.objects.filter(name="reask").update(requires=["chat", "echo"])
        model = echo()
        submit("reask", model=model, seed=1)
        Run.objects.all().delete()
        note_probed(model.pk, capabilities=["chat", "prefix"], context_window=100)
        model.refresh_from_db()
        message = self.refused(submit, MissingCapability, model=model)
        assert "needs echo" in message
        assert "was found to lack" in message

    def test_refuses_tasks_that_are_put_in_another_way(self, submit):
        likely = suite_of(SuiteTask(TaskSpec(TASK, mode="likelihood")), name="likely")
        message = self.refused(submit, BadTask, on=likely, limit=None)
        assert message.startswith("Task 'echo_flips:likelihood': it is a task of likelihoods")
        assert "reask works on written answers" in message

    def test_the_mode_is_part_of_the_tasks_name(self, submit):
        lettered = suite_of(SuiteTask(TaskSpec(TASK, mode="generative"), 5), name="lettered")
        (run,) = submit("reask", on=lettered, limit=None)
        assert list(run.shards.values_list("task", flat=True)) == ["echo_flips:generative"]

    def test_versions_recorded_before_there_were_modes_are_not_held_to_them(self, submit):
        EvaluatorVersion.objects.update(modes=[])
        likely = suite_of(SuiteTask(TaskSpec(TASK, mode="likelihood")), name="likely")
        (run,) = submit("reask", on=likely, limit=None)
        assert run.state == State.QUEUED


class TestCritics:
    @pytest.fixture
    def critical(self, evaluators):
        EvaluatorVersion.objects.filter(name="reask").update(roles=["critic"])

    def test_is_part_of_the_run(self, submit, critical):
        critic = echo(delay=0.25)
        (alone,) = submit("reask")
        (helped,) = submit("reask", critic=critic)
        assert (alone.critic_model, helped.critic_model) == (None, critic)
        assert alone != helped
        assert submit("reask", critic=critic) == [helped]
        assert helped.submission.critic_model == critic

    def test_is_given_to_those_alone_that_ask_one(self, submit, critical):
        single, reask = submit("single_pass", "reask", critic=echo(delay=0.25))
        assert single.critic_model is None
        assert reask.critic_model is not None

    def test_the_model_itself_is_no_other_model(self, submit, critical):
        (alone,) = submit("reask")
        assert submit("reask", critic=echo()) == [alone]

    def test_a_retry_keeps_it(self, submit, critical, user):
        (run,) = submit("reask", critic=echo(delay=0.25), replicates=2)
        services.cancel(run=run, actor="user:1")
        again = services.retry(run=run, actor="user:1")
        assert (again.critic_model, again.replicates) == (run.critic_model, 2)

    def test_refuses_a_critic_that_nobody_would_ask(self, submit, critical):
        words = "asks a critic; reask and review_improve do"
        with pytest.raises(BadParameter, match=words) as caught:
            submit("single_pass", critic=echo(delay=0.25))
        assert caught.value.data["name"] == "critic"
        assert not Run.objects.exists()

    def test_refuses_a_critic_that_cannot_hold_a_conversation(self, submit, critical):
        critic = echo(delay=0.25)
        critic.has_chat_template = False
        with pytest.raises(MissingCapability, match="lets the critic speak"):
            submit("reask", critic=critic)

    def test_refuses_a_critic_whose_runtime_cannot_do_what_it_is_asked(self, submit, critical):
        needs = ["chat", "label_likelihood"]
        EvaluatorVersion.objects.filter(name="reask").update(requires=needs)
        assert submit("reask", critic=echo(delay=0.25), seed=1)[0].critic_model is not None
        plain = echo(capabilities="chat+prefix")
        with pytest.raises(MissingCapability, match="which its runtime echo does not offer"):
            submit("reask", critic=plain)

    def test_needs_the_hardware_of_both(self, submit, critical):
        critic = echo(delay=0.25)
        critic.runtime, critic.args = "vllm", {"tensor_parallel_size": 2}
        assert making.hardware_for(echo(), critic) == "gpu:2"
        assert making.hardware_for(echo()) == "cpu"


class TestReplicates:
    def test_are_part_of_the_run(self, submit):
        (one,) = submit("reask")
        (four,) = submit("reask", replicates=4)
        assert (one.replicates, four.replicates) == (1, 4)
        assert one != four

    @pytest.mark.parametrize("number", [0, 65, -1])
    def test_refuses_numbers_out_of_range(self, submit, number):
        with pytest.raises(BadParameter, match="must be from 1 to 64"):
            submit("reask", replicates=number)


class TestOwners:
    def test_refuses_somebody_elses_endpoint(self, submit, evaluators):
        EvaluatorVersion.objects.filter(name="reask").update(roles=["critic"])
        with override_settings(REDRAFT_ENDPOINT_ALLOW=["localhost:8000"]):
            theirs = register_endpoint(
                user=User.objects.create_user("somebody"), url="http://localhost:8000", name="tiny"
            )
        for wish in ({"model": theirs}, {"critic": theirs}):
            with pytest.raises(BadModel, match="endpoint of another user"):
                submit("reask", **wish)
        assert not Run.objects.exists()


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
