"""A result is held against runs of equal compute: made once, shared, never in the way."""

from __future__ import annotations

import threading
from dataclasses import asdict

import pytest
from django.db import connection
from django.test import override_settings

from evaluators.model import Sampling
from leaderboard.catalog.models import EvaluatorVersion
from leaderboard.runs import services
from leaderboard.runs.errors import Failure
from leaderboard.runs.invariants import broken
from leaderboard.runs.models import Node, Run, RunControl, SampleResult, Shard, State, Submission
from tests.leaderboard.runs.conftest import echo, prepared, record

KINDS = ["greedy", "sc_calls", "sc_tokens", "best_of_n", "null_turn"]
LIMIT = 6


@pytest.fixture
def complete(submit, begin):
    """Submit a method and complete it as a worker does; nobody has swept yet."""

    def make(name="reask", *, controls=True, right=(True, False), **more) -> Run:
        (run,) = submit(name, limit=LIMIT, controls=controls, **more)
        finish(begin())
        run.refresh_from_db()
        assert run.state == State.COMPLETED
        return run

    def finish(held, right=(True, False)):
        services.commit_batch(held, prepared(*range(LIMIT), right=right))
        assert services.finish(held)

    make.finish = finish
    return make


def controls_of(run) -> dict[str, Run | None]:
    return {row.kind: row.control for row in run.controls.all()}


class TestMaking:
    def test_makes_them_once_the_cost_is_known(self, complete):
        run = complete()
        assert (RunControl.objects.count(), Run.objects.count()) == (0, 1)
        assert services.make_controls() == 1
        found = controls_of(run)
        assert list(found) == KINDS
        # reask made two calls of two tokens each, and its first answer was one of them
        greedy, vote = (found[kind] for kind in KINDS[:2])
        assert (greedy.evaluator.name, greedy.params) == ("single_pass", {"temperature": None})
        assert (vote.evaluator.name, vote.params["samples"]) == ("self_consistency", 2)
        assert found["sc_tokens"] is None
        assert broken() == []

    def test_a_vote_at_equal_tokens_is_sized_by_the_other_vote(self, complete, begin):
        run = complete()
        services.make_controls()
        assert run.controls.get(kind="sc_tokens").reason.startswith("sized once the vote")
        vote = controls_of(run)["sc_calls"]
        Shard.objects.filter(run=vote).update(priority=5)
        complete.finish(begin())
        SampleResult.objects.filter(run=vote).update(tokens_out=2)
        assert services.make_controls() == 1
        tokens = controls_of(run)["sc_tokens"]
        # the method generated four tokens a sample, a sampled answer costs one
        assert (tokens.evaluator.name, tokens.params["samples"]) == ("self_consistency", 4)
        assert services.make_controls() == 0
        assert broken() == []

    def test_one_long_call_is_held_against_a_vote_that_the_greedy_answer_sizes(
        self, submit, begin, complete
    ):
        record("in_response_verify")
        (run,) = submit("in_response_verify", limit=LIMIT, controls=True)
        complete.finish(begin(), right=(True,))
        Node.objects.filter(result__run=run).update(tokens_out=18)
        assert services.make_controls() == 1
        assert run.controls.get(kind="sc_tokens").reason == "sized once the greedy answer is done"
        assert controls_of(run)["sc_calls"] is None
        complete.finish(begin(), right=(True,))  # the greedy answers, of two tokens each
        assert services.make_controls() == 1
        vote = controls_of(run)["sc_tokens"]
        assert (vote.evaluator.name, vote.params["samples"]) == ("self_consistency", 9)

    def test_draws_are_at_the_methods_own_temperature(self, complete):
        run = complete()
        drawn = asdict(Sampling(temperature=1.0, seed=1))
        Node.objects.filter(result__run=run, kind="answer").update(sampling=drawn)
        services.make_controls()
        assert controls_of(run)["sc_calls"].params == {"samples": 2, "temperature": 1.0}

    def test_best_of_n_is_rated_by_the_critic_of_the_run(self, submit, begin, complete):
        record("best_of_n")
        critic, model = echo(delay=0.25), echo(capabilities="chat")
        (run,) = submit("review_improve", model=model, critic=critic, limit=LIMIT, controls=True)
        complete.finish(begin(), right=(True,) * 4)
        services.make_controls()
        found = controls_of(run)
        assert (found["best_of_n"].evaluator.name, found["best_of_n"].params["samples"]) == (
            "best_of_n", 2,
        )  # fmt: skip
        assert found["best_of_n"].critic_model == critic
        assert found["sc_calls"].critic_model is None

    def test_without_the_other_vote_the_first_answer_tells(self, complete):
        run = complete()
        services.make_controls()
        services.cancel(run=controls_of(run)["sc_calls"], actor="user:1")
        services.sweep()
        assert controls_of(run)["sc_tokens"].params["samples"] == 2

    def test_they_are_ordinary_runs_of_the_same_samples(self, complete):
        run = complete(seed=3, replicates=1)
        services.make_controls()
        for control in filter(None, controls_of(run).values()):
            assert (control.model, control.suite) == (run.model, run.suite)
            assert (control.limit, control.seed, control.replicates) == (LIMIT, 3, 1)
            assert (control.submission, control.state) == (run.submission, State.QUEUED)
            assert control.control_only
            assert not control.with_controls

    def test_what_cannot_be_made_says_why(self, complete):
        run = complete()
        services.make_controls()
        missing = run.controls.filter(control=None).exclude(kind="sc_tokens")
        for row in missing:
            assert "installed" in row.reason
        assert set(missing.values_list("kind", flat=True)) == {"best_of_n", "null_turn"}

    def test_none_unless_asked_for(self, complete):
        complete(controls=False)
        assert services.make_controls() == 0
        assert not RunControl.objects.exists()

    def test_what_is_a_control_itself_has_none(self, complete):
        run = complete("self_consistency")
        assert services.make_controls() == 1
        run.refresh_from_db()
        assert run.controls_made_at is not None
        assert not run.controls.exists()

    def test_a_method_that_is_gone_keeps_its_list(self, complete):
        run = complete()
        EvaluatorVersion.objects.filter(pk=run.evaluator_id).update(name="gone", controls=KINDS[:2])
        services.make_controls()
        reasons = [(row.kind, row.control, "gone" in row.reason) for row in run.controls.all()]
        assert reasons == [("greedy", None, True), ("sc_calls", None, True)]

    def test_later_when_somebody_asks_later(self, complete, user):
        run = complete(controls=False)
        services.submit(
            user=user, model=run.model, suite=run.suite, evaluators=[("reask", {})], limit=LIMIT,
            controls=True,
        )  # fmt: skip
        assert services.make_controls() == 1
        assert list(controls_of(run)) == KINDS
        other = complete(controls=False, seed=1)
        services.ask_for_controls(other)
        assert services.make_controls() == 1


class TestOnce:
    def test_again_changes_nothing(self, complete):
        run = complete()
        services.sweep()
        before = Run.objects.count()
        assert (services.make_controls(), services.sweep().controls) == (0, 0)
        assert (Run.objects.count(), run.controls.count()) == (before, len(KINDS))

    def test_four_sweepers_at_once(self, transactional_db, complete):
        runs = [complete(seed=seed) for seed in range(2)]
        start, made = threading.Barrier(4), []

        def go():
            start.wait()
            try:
                made.append(services.make_controls())
            finally:
                connection.close()

        threads = [threading.Thread(target=go) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(made) == 2
        for run in runs:
            assert list(controls_of(run)) == KINDS
        assert Run.objects.count() == 2 + 2 * 2
        assert broken() == []

    def test_a_worker_that_dies_on_the_way_leaves_nothing_behind(self, complete, monkeypatch):
        """The third control is not written: neither are the first two, and the next round is."""
        run = complete()
        written = RunControl.objects.create
        left = [2]

        def create(**fields):
            left[0] -= 1
            if left[0] < 0:
                raise RuntimeError("the worker died")
            return written(**fields)

        monkeypatch.setattr(RunControl.objects, "create", create, raising=False)
        assert services.make_controls() == 0
        assert (Run.objects.count(), RunControl.objects.count()) == (1, 0)
        monkeypatch.undo()
        assert services.make_controls() == 1
        assert list(controls_of(run)) == KINDS
        assert broken() == []


class TestSharing:
    def test_methods_of_equal_cost_share(self, complete):
        first, other = complete("reask"), complete("review_improve")
        services.make_controls()
        assert controls_of(first)["greedy"] == controls_of(other)["greedy"]

    def test_what_somebody_submitted_is_used(self, complete, submit):
        run = complete()
        (theirs,) = submit("single_pass", limit=LIMIT)
        services.make_controls()
        assert controls_of(run)["greedy"] == theirs
        theirs.refresh_from_db()
        assert not theirs.control_only
        assert set(theirs.shards.values_list("priority", flat=True)) == {0}

    def test_becomes_the_run_of_whoever_submits_it(self, complete, submit):
        run = complete()
        services.make_controls()
        control = controls_of(run)["greedy"]
        assert submit("single_pass", limit=LIMIT) == [control]
        control.refresh_from_db()
        assert not control.control_only
        assert set(control.shards.values_list("priority", flat=True)) == {0}


class TestManners:
    def test_people_go_first(self, complete, submit, take):
        complete()
        services.make_controls()
        (theirs,) = submit("reask", limit=LIMIT, seed=9)
        assert take("worker-2").run == theirs.pk
        assert Run.objects.get(pk=take("worker-3").run).control_only

    @override_settings(REDRAFT_SUBMISSIONS_PER_DAY=2)
    def test_cost_no_quota(self, complete, submit):
        complete()
        services.make_controls()
        assert Submission.objects.count() == 1
        submit("reask", limit=LIMIT, seed=1)  # the second of two

    def test_unpublished_methods_have_unpublished_controls(self, complete):
        run = complete()
        Run.objects.filter(pk=run.pk).update(published=False)
        services.make_controls()
        assert not any(c.published for c in controls_of(run).values() if c)


class TestFailures:
    def fail(self, control):
        for shard in control.shards.all():
            Shard.objects.filter(pk=shard.pk).update(attempts_charged=20)
        services.sweep()
        control.refresh_from_db()
        assert control.state == State.FAILED

    def test_a_failed_control_is_shown_and_another_takes_its_place(self, complete):
        run = complete()
        services.make_controls()
        failed = controls_of(run)["greedy"]
        self.fail(failed)
        assert controls_of(run)["greedy"] == failed
        again = services.retry(run=failed, actor="user:1")
        assert controls_of(run)["greedy"] == again
        assert set(again.shards.values_list("priority", flat=True)) == {-10}
        assert broken() == []

    def test_so_does_what_is_submitted_anew(self, complete, submit):
        run = complete()
        services.make_controls()
        self.fail(controls_of(run)["greedy"])
        (anew,) = submit("single_pass", limit=LIMIT)
        assert controls_of(run)["greedy"] == anew
        assert broken() == []

    def test_a_method_that_failed_has_none(self, submit, begin):
        (run,) = submit("reask", limit=LIMIT, controls=True)
        services.release(begin(), services.Ending("failed", Failure("run:app:internal", "x")))
        run.refresh_from_db()
        assert run.state == State.FAILED
        assert services.make_controls() == 0
        assert services.retry(run=run, actor="user:1").with_controls

    def test_a_deleted_control_leaves_no_reason(self, complete):
        run = complete()
        services.make_controls()
        controls_of(run)["greedy"].delete()
        row = run.controls.get(kind="greedy")
        assert (row.control, row.reason) == (None, "")


@pytest.mark.parametrize("replicates", [1, 2])
def test_a_worker_until_idle_does_them_as_well(submit, work, replicates):
    (run,) = submit("reask", limit=LIMIT, controls=True, replicates=replicates)
    work()
    run.refresh_from_db()
    found = controls_of(run)
    assert [kind for kind, control in found.items() if control] == KINDS[:3]
    assert {control.state for control in found.values() if control} == {State.COMPLETED}
    assert broken() == []
