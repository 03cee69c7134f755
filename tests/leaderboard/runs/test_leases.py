"""Who may write: claims, leases, fences, commits, endings."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test import override_settings

from leaderboard.runs import services
from leaderboard.runs.errors import Failure, Fenced
from leaderboard.runs.invariants import broken
from leaderboard.runs.models import Attempt, Node, Run, SampleResult, Shard, State
from leaderboard.runs.services.clock import ClockTimestamp
from leaderboard.runs.services.leases import back_off
from tests.leaderboard.runs.conftest import echo, expire, prepared

DIED = services.Ending("died", Failure("run:app:runtime-died", "exit status 9"))


def shard_of(held) -> Shard:
    return Shard.objects.get(pk=held.shard)


def age(run: Run, minutes: int) -> None:
    run.shards.update(queued_at=ClockTimestamp() - timedelta(minutes=minutes))


class TestClaiming:
    def test_takes_the_oldest_with_a_new_fence_and_an_attempt(self, submit, take):
        first, second = submit("reask")[0], submit("reask", seed=1)[0]
        age(first, 2)
        age(second, 1)
        held = take()
        assert (held.run, held.fence, held.worker) == (first.pk, 1, "worker-1")
        assert shard_of(held).state == State.PREPARING
        assert Attempt.objects.get().fence == 1
        assert take("worker-2").run == second.pk
        assert take("worker-3") is None

    def test_eight_threads_never_get_the_same_shard(self, transactional_db, submit, take):
        for seed in range(40):
            submit("reask", seed=seed)
        found, start = [], threading.Barrier(8)

        def drain(name):
            start.wait()
            try:
                while (held := take(name)) is not None:
                    found.append(held.shard)
            finally:
                connection.close()

        threads = [threading.Thread(target=drain, args=(f"w{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == len(set(found)) == 40
        assert broken() == []

    def test_a_warm_runtime_goes_first_for_ten_minutes(self, submit, take):
        warm = echo(delay=1.0)
        old = submit("reask")[0]
        young = submit("reask", model=warm)[0]
        age(old, 9)
        assert take(warm=warm.engine_key).run == young.pk
        age(old, 11)
        young = submit("reask", model=warm, seed=1)[0]
        assert take(warm=warm.engine_key).run == old.pk

    def test_a_busy_worker_takes_nothing_of_another_engine(self, submit, take):
        submit("reask")
        assert take(warm="another engine", company=True) is None
        assert take(warm=echo().engine_key, company=True) is not None

    def test_leaves_what_it_cannot_run(self, submit, take, evaluators):
        submit("reask")
        assert take(evaluators=[evaluators["single_pass"].pk]) is None
        assert take(hardware=["gpu"]) is None
        assert take(evaluators=[evaluators["reask"].pk]) is not None

    def test_leaves_cancelled_runs(self, submit, take):
        (run,) = submit("reask")
        Run.objects.filter(pk=run.pk).update(cancel_requested_at=ClockTimestamp())
        assert take() is None

    def test_waits_until_the_time_has_come(self, submit, begin, take):
        submit("reask")
        held = begin()
        services.release(held, DIED)
        Shard.objects.update(not_before=ClockTimestamp() + timedelta(seconds=60))
        assert take() is None
        Shard.objects.update(not_before=ClockTimestamp())
        assert take().fence == 2


class TestFencing:
    def test_a_silent_owner_is_replaced_and_can_write_nothing_more(self, submit, begin):
        submit("reask")
        zombie = begin("zombie")
        services.commit_batch(zombie, prepared(0, 1))
        expire(zombie)
        heir = begin("heir")
        assert heir.fence == 2
        assert services.beat("zombie", {zombie.shard: zombie.fence}) == {}
        for attempt in (
            lambda: services.commit_batch(zombie, prepared(2)),
            lambda: services.finish(zombie),
            lambda: services.start(zombie, facts={}),
            lambda: services.fix_size(zombie, 3),
            lambda: services.release(zombie, DIED),
        ):
            with pytest.raises(Fenced), transaction.atomic():
                attempt()
        assert services.present(heir) == {("0", 0), ("1", 0)}
        assert list(Attempt.objects.values_list("fence", "outcome")) == [(1, "lost"), (2, "")]
        assert broken() == []

    def test_the_heartbeat_keeps_a_lease(self, submit, begin, take):
        submit("reask")
        held = begin()
        expire(held)
        assert services.beat("worker-1", {held.shard: held.fence}) == {held.shard: False}
        assert take("worker-2") is None

    def test_the_heartbeat_renews_nothing_under_an_old_fence(self, submit, begin):
        submit("reask")
        held = begin()
        assert services.beat("worker-1", {held.shard: held.fence - 1}) == {}
        assert services.beat("worker-2", {held.shard: held.fence}) == {}


class TestCommitting:
    def test_a_repeated_commit_changes_nothing(self, submit, begin):
        submit("reask")
        held = begin()
        assert services.commit_batch(held, prepared(0, 1, 2)) == 3
        first = list(SampleResult.objects.order_by("position").values_list("pk", "row_hash"))
        assert services.commit_batch(held, prepared(1, 2, 3, right=(False, False))) == 1
        later = list(SampleResult.objects.order_by("position").values_list("pk", "row_hash"))
        assert later[:3] == first
        assert shard_of(held).progress_done == 4
        assert broken() == []

    def test_only_infrastructure_errors_are_replaced(self, submit, begin):
        submit("reask")
        held = begin()
        services.commit_batch(held, prepared(0, status="unscored"))
        assert services.commit_batch(held, prepared(1, status="infra_error")) == 0
        assert services.present(held) == {("0", 0)}
        assert services.commit_batch(held, prepared(0, 1)) == 1
        assert dict(SampleResult.objects.values_list("sample_id", "status")) == {
            "0": "unscored",
            "1": "ok",
        }
        assert Node.objects.filter(result__sample_id="1").count() == 2
        assert shard_of(held).progress_done == 2
        assert broken() == []

    def test_infrastructure_errors_are_no_progress(self, submit, begin):
        submit("reask")
        held = begin()
        services.commit_batch(held, prepared(0, status="infra_error"))
        shard = shard_of(held)
        assert (shard.attempts_no_progress, shard.progressed_at) == (1, None)
        services.commit_batch(held, prepared(0))
        assert shard_of(held).attempts_no_progress == 0

    def test_a_failing_batch_leaves_nothing(self, submit, begin):
        submit("reask")
        held = begin()
        batch = prepared(0, 1)
        batch[1].result.status = "x" * 40  # longer than its column
        with pytest.raises(Exception, match="too long"), transaction.atomic():
            services.commit_batch(held, batch)
        assert SampleResult.objects.count() == Node.objects.count() == 0
        batch[1].result.status = "ok"
        assert services.commit_batch(held, batch) == 2
        assert broken() == []


class TestEndings:
    def test_complete_only_when_nothing_is_missing(self, submit, begin):
        (run,) = submit("reask", limit=3)
        held = begin()
        services.commit_batch(held, prepared(0, 1))
        services.commit_batch(held, prepared(2, status="infra_error"))
        assert not services.finish(held)
        services.commit_batch(held, prepared(2))
        assert services.finish(held)
        run.refresh_from_db()
        assert run.state == State.COMPLETED
        assert broken() == []

    def test_a_drained_attempt_is_not_charged(self, submit, begin):
        submit("reask")
        held = begin()
        services.release(held, services.Ending("drained", Failure("run:app:drained")))
        shard = shard_of(held)
        counters = (shard.attempts_total, shard.attempts_charged, shard.attempts_no_progress)
        assert (shard.state, *counters) == (State.RETRY_WAIT, 1, 0, 0)
        assert begin("worker-2").fence == 2

    def test_the_third_death_alone_is_the_last(self, submit, begin, take):
        (run,) = submit("reask")
        for _ in range(3):
            held = begin()
            expire(held)
        assert take() is None
        run.refresh_from_db()
        assert (run.state, run.failure_id) == (State.QUARANTINED, "run:app:quarantined")
        assert Attempt.objects.count() == 3
        assert broken() == []

    def test_progress_forgives_deaths(self, submit, begin, take):
        submit("reask")
        for number in range(5):
            held = begin()
            services.commit_batch(held, prepared(number))
            expire(held)
        assert take() is not None

    def test_deaths_in_company_make_each_go_alone(self, submit, begin, take):
        submit("reask")
        submit("reask", seed=1)
        first = begin("crowded")
        second = begin("crowded", warm=first.engine_key, company=True)
        expire(first)
        expire(second)
        alone = take("next")
        assert alone.alone
        assert take("next", warm=alone.engine_key, company=True) is None
        assert set(Shard.objects.values_list("alone", "deaths_no_progress")) == {(True, 0)}

    @override_settings(REDRAFT_MAX_CHARGED=3, REDRAFT_FATAL_DEATHS=99, REDRAFT_BACKOFF_SECONDS=0)
    def test_attempts_are_used_up_at_last(self, submit, begin, take):
        (run,) = submit("reask")
        for _ in range(3):
            services.release(begin(), services.Ending("retry", Failure("run:app:stalled", "s")))
        assert take() is None
        services.sweep()
        run.refresh_from_db()
        assert (run.state, run.failure_id) == (State.FAILED, "run:app:attempts-used-up")
        assert broken() == []

    @override_settings(REDRAFT_SLICE_SAMPLES=12)
    def test_one_failed_shard_ends_the_run_once_the_others_have_let_go(
        self, transactional_db, submit, begin
    ):
        (run,) = submit("reask", limit=36)
        first = begin()
        second = begin(warm=first.engine_key, company=True)
        failure = Failure("run:user:task-unusable", "it burns")
        services.release(first, services.Ending("failed", failure))
        run.refresh_from_db()
        assert (run.state, run.failure_id) == (State.RUNNING, "run:user:task-unusable")
        assert services.beat("worker-1", {second.shard: second.fence}) == {second.shard: True}
        services.release(second, services.Ending("cancelled", failure))
        run.refresh_from_db()
        assert (run.state, run.failure_detail) == (State.FAILED, "it burns")
        states = sorted(run.shards.values_list("state", flat=True))
        assert states == [State.CANCELLED, State.CANCELLED, State.FAILED]
        assert broken() == []

    @override_settings(REDRAFT_BACKOFF_SECONDS=30, REDRAFT_BACKOFF_LIMIT_SECONDS=1800)
    def test_waits_grow_and_are_bounded(self):
        longest = [max(back_off(n).total_seconds() for _ in range(300)) for n in (1, 2, 3, 50)]
        bounds = [30, 60, 120, 1800]
        assert all(0.8 * bound < wait <= bound for wait, bound in zip(longest, bounds, strict=True))


class TestSizes:
    @override_settings(REDRAFT_SLICE_SAMPLES=100)
    def test_the_first_to_load_a_task_cuts_it(self, submit, begin, suite):
        type(suite).objects.update(sizes={})
        suite.refresh_from_db()
        (run,) = submit("reask", limit=None)
        held = begin()
        assert services.fix_size(held, 240) == 100
        assert services.fix_size(held, 999) == 100
        cuts = run.shards.order_by("offset").values_list("offset", "size")
        assert list(cuts) == [(0, 100), (100, 100), (200, 40)]
