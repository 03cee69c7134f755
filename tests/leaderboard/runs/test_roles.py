"""A critic that is another model stands beside the actor for as long as a shard needs it."""

from __future__ import annotations

from collections import Counter

import pytest
from django.test import override_settings

from evaluators.errors import BadParameter
from leaderboard.runs.hardware import Slot
from leaderboard.runs.invariants import broken
from leaderboard.runs.models import Attempt, Generation, Node, Run, Shard, State
from tests.leaderboard.runs.conftest import echo, record


@pytest.fixture(autouse=True)
def short_waits():
    with override_settings(REDRAFT_BACKOFF_SECONDS=0.05, REDRAFT_HEARTBEAT_SECONDS=0.1):
        yield


@pytest.fixture
def criticised(submit):
    """Submit a run whose critic is another echo; returns it and how it ended, when asked."""

    def make(critic, *, actor=None, **more) -> Run:
        (run,) = submit("review_improve", model=actor or echo(), **more)
        Run.objects.filter(pk=run.pk).update(critic_model=critic)
        run.refresh_from_db()
        return run

    return make


def ended(run: Run) -> tuple[str, str]:
    run.refresh_from_db()
    return (run.state, run.failure_id)


def test_each_role_is_played_by_its_own_model(criticised, work):
    run = criticised(echo(context_window=4096))
    work()
    assert ended(run) == (State.COMPLETED, "")
    runtime, critic = run.manifest["runtime"][0], run.manifest["critic_runtime"][0]
    assert (runtime["context_window"], critic["context_window"]) == (8192, 4096)
    # two answers of each sample were made by the actor, its critique by the critic
    made = Counter(Generation.objects.values_list("fingerprint", flat=True))
    assert made == {runtime["fingerprint"]: 48, critic["fingerprint"]: 24}
    assert Node.objects.filter(role="critic").count() == 24
    assert broken() == []


def test_one_model_may_play_both_roles(criticised, work):
    actor = echo()
    run = criticised(actor, actor=actor)
    work()
    assert ended(run) == (State.COMPLETED, "")
    assert run.manifest["critic_runtime"] == []


def test_runs_with_different_critics_share_the_actor(criticised, work):
    runs = [
        criticised(echo(context_window=4096 + number), seed=number, limit=6) for number in range(2)
    ]
    work(local_runtimes=2)  # one critic at a time: the second waits for the first to go
    assert [ended(run) for run in runs] == [(State.COMPLETED, "")] * 2
    windows = [run.manifest["critic_runtime"][0]["context_window"] for run in runs]
    assert windows == [4096, 4097]
    assert broken() == []


def test_refuses_a_second_model_where_there_is_room_for_one(criticised, submit, work):
    run = criticised(echo(context_window=4096))
    (other,) = submit("reask", limit=24)
    work(local_runtimes=1)
    assert ended(run) == (State.FAILED, "run:user:model-unusable")
    assert "holds 1 model with weights (REDRAFT_LOCAL_RUNTIMES)" in run.failure_detail
    assert ended(other) == (State.COMPLETED, "")
    assert broken() == []


def test_refuses_two_models_on_one_gpu(criticised, work):
    critic = echo(context_window=4096)
    critic.runtime, critic.args = "lm-eval", {"device": "cuda:0"}
    critic.save()
    actor = echo(delay=0.001)
    run = criticised(critic, actor=actor)
    type(actor).objects.filter(pk=actor.pk).update(runtime="vllm")
    Shard.objects.update(hardware="gpu")
    work(slots=[Slot(("gpu",), ("0",))])
    assert ended(run)[0] == State.FAILED
    assert "it would take 2 GPUs, and a slot of this worker has 1" in run.failure_detail


def test_a_critic_that_dies_is_replaced_and_the_run_goes_on(criticised, work):
    run = criticised(echo(fail_after=10), limit=24)
    for _ in range(12):
        work(samples_in_flight=2, batch_samples=2)
        if ended(run)[0] not in {State.QUEUED, State.RETRY_WAIT, State.RUNNING}:
            break
    assert ended(run) == (State.COMPLETED, "")
    assert Attempt.objects.filter(outcome="lost").count() >= 2
    assert broken() == []


def test_a_critic_that_cannot_be_served_fails_the_run_alone(criticised, submit, work):
    critic = echo(context_window=4096)
    type(critic).objects.filter(pk=critic.pk).update(args={"no_such_argument": 1})
    run = criticised(critic)
    (other,) = submit("reask", limit=24)
    work()
    assert ended(run) == (State.FAILED, "run:user:model-unusable")
    assert "no_such_argument" in run.failure_detail
    assert ended(other) == (State.COMPLETED, "")


class TestJudges:
    """Beside the critic another model may judge: both find room, or the run says why not."""

    @pytest.fixture
    def judged(self, submit):
        record("ask_refine_trust")

        def make(critic=None, judge=None, **more) -> Run:
            (run,) = submit("ask_refine_trust", limit=4, critic=critic, judge=judge, **more)
            return run

        return make

    def test_three_models_play_three_roles(self, judged, work):
        run = judged(echo(context_window=4096), echo(context_window=4097))
        work(local_runtimes=3)
        assert ended(run) == (State.COMPLETED, "")
        windows = {
            key: [found["context_window"] for found in run.manifest[key]]
            for key in ("runtime", "critic_runtime", "judge_runtime")
        }
        assert windows == {
            "runtime": [8192], "critic_runtime": [4096], "judge_runtime": [4097],
        }  # fmt: skip
        assert run.manifest["judge"]["label"] == run.judge_model.label
        assert broken() == []

    def test_one_other_model_may_play_both(self, judged, work):
        other = echo(context_window=4096)
        run = judged(other, other)
        work(local_runtimes=2)
        assert ended(run) == (State.COMPLETED, "")
        assert run.manifest["critic_runtime"] == run.manifest["judge_runtime"]

    def test_refuses_three_models_where_there_is_room_for_two(self, judged, submit, work):
        run = judged(echo(context_window=4096), echo(context_window=4097))
        (other,) = submit("reask", limit=4)
        work(local_runtimes=2)
        assert ended(run) == (State.FAILED, "run:user:model-unusable")
        assert "holds 2 models with weights" in run.failure_detail
        assert ended(other) == (State.COMPLETED, "")

    def test_shards_that_need_two_each_wait_for_both(self, judged, work):
        """Each holding one and waiting for the other's would wait for ever."""
        a, b = echo(context_window=4096), echo(context_window=4097)
        runs = [judged(a, b), judged(b, a, seed=1), judged(b, None, seed=2)]
        work(local_runtimes=3)
        assert [ended(run) for run in runs] == [(State.COMPLETED, "")] * 3
        assert broken() == []

    def test_is_part_of_what_makes_runs_the_same(self, judged):
        judge = echo(context_window=4097)
        alone, helped = judged(), judged(None, judge)
        assert (alone.judge_model, helped.judge_model) == (None, judge)
        assert alone != helped
        assert judged(None, judge) == helped
        assert (alone.information, helped.information) == ("intrinsic", "external_feedback")

    def test_refuses_a_judge_that_nobody_would_ask(self, submit, judged):
        with pytest.raises(BadParameter, match="asks a judge; ask_refine_trust does") as caught:
            submit("reask", judge=echo(delay=0.25))
        assert caught.value.data["name"] == "judge"
