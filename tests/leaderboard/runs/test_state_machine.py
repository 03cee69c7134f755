"""Whatever people, workers, sweepers and death do, in any order: the invariants hold."""

from __future__ import annotations

import os

import pytest
from django.db import transaction
from django.test import override_settings
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from leaderboard.runs import services
from leaderboard.runs.errors import CANCELLED, DRAINED, Failure, Fenced
from leaderboard.runs.invariants import broken
from leaderboard.runs.models import Run, Shard, State
from leaderboard.runs.models.work import OWNED, TERMINAL
from leaderboard.runs.services.making import BADLY
from tests.leaderboard.runs.conftest import expire, prepared

EXAMPLES = int(os.environ.get("REDRAFT_STATE_EXAMPLES", "25"))
STEPS = int(os.environ.get("REDRAFT_STATE_STEPS", "40"))
SIZE = 6
"""Samples per run."""

WORKERS = st.sampled_from(["ann", "ben", "cat"])
NUMBERS = st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=4, unique=True)


class Lifecycle(RuleBasedStateMachine):
    """Every claim ever made stays in `claims`, so the dead come back as zombies and are refused."""

    submit_run: object
    take: object

    @initialize()
    def open_world(self):
        self.world = transaction.atomic()
        self.world.__enter__()
        self.claims = []
        self.seen = {}
        self.stored = {}

    def teardown(self):
        if hasattr(self, "world"):
            assert broken() == []
            transaction.set_rollback(True)
            self.world.__exit__(None, None, None)

    def attempt(self, held, action) -> bool:
        """Do something as an owner: it works if and only if the claim is the shard's own."""
        shard = Shard.objects.get(pk=held.shard)
        mine = shard.fence == held.fence and shard.owner == held.worker
        try:
            with transaction.atomic():
                action(held)
        except Fenced:
            assert not mine or shard.state not in OWNED
            return False
        assert mine
        return True

    @rule(seed=st.integers(0, 2))
    def submit(self, seed):
        type(self).submit_run("reask", limit=SIZE, seed=seed)

    @rule(worker=WORKERS)
    def claim(self, worker):
        held = type(self).take(worker)
        if held is not None:
            assert Shard.objects.get(pk=held.shard).fence == held.fence
            self.claims.append(held)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def start(self, data):
        held = data.draw(st.sampled_from(self.claims))
        if Shard.objects.get(pk=held.shard).state in {State.PREPARING, *TERMINAL}:
            self.attempt(held, lambda h: services.start(h, facts={}))

    @precondition(lambda self: self.claims)
    @rule(
        data=st.data(),
        numbers=NUMBERS,
        status=st.sampled_from(["ok", "ok", "unscored", "infra_error"]),
    )
    def commit(self, data, numbers, status):
        held = data.draw(st.sampled_from(self.claims))
        shard = Shard.objects.get(pk=held.shard)
        running = shard.state == State.RUNNING and shard.fence == held.fence
        try:
            with transaction.atomic():
                services.commit_batch(held, prepared(*numbers, status=status))
        except Fenced:
            assert not running
        else:
            assert running

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def commit_the_rest_and_finish(self, data):
        held = data.draw(st.sampled_from(self.claims))
        shard = Shard.objects.get(pk=held.shard)
        if shard.state == State.RUNNING and shard.fence == held.fence:
            services.commit_batch(held, prepared(*range(SIZE)))
            assert services.finish(held)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def finish(self, data):
        self.attempt(data.draw(st.sampled_from(self.claims)), services.finish)

    @precondition(lambda self: self.claims)
    @rule(
        data=st.data(),
        ending=st.sampled_from(
            [
                services.Ending("drained", DRAINED),
                services.Ending("died", Failure("run:app:runtime-died", "9")),
                services.Ending("died", Failure("run:app:runtime-died", "9"), company=True),
                services.Ending("retry", Failure("run:app:stalled", "slow")),
                services.Ending("failed", Failure("run:user:task-unusable", "it burns")),
                services.Ending("cancelled", CANCELLED),
            ]
        ),
    )
    def release(self, data, ending):
        held = data.draw(st.sampled_from(self.claims))
        run = Run.objects.get(pk=held.run)
        if ending.kind != "cancelled" or run.cancel_requested_at:
            self.attempt(held, lambda h: services.release(h, ending))

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def beat(self, data):
        held = data.draw(st.sampled_from(self.claims))
        shard = Shard.objects.get(pk=held.shard)
        mine = shard.fence == held.fence and shard.owner == held.worker
        assert (held.shard in services.beat(held.worker, {held.shard: held.fence})) == mine

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def fall_silent(self, data):
        held = data.draw(st.sampled_from(self.claims))
        if Shard.objects.get(pk=held.shard).owner:
            expire(held)

    @precondition(lambda self: Run.objects.exists())
    @rule(data=st.data())
    def cancel(self, data):
        run = data.draw(st.sampled_from(list(Run.objects.order_by("pk"))))
        services.cancel(run=run, actor="user:1")

    @precondition(lambda self: Run.objects.filter(state__in=BADLY).exists())
    @rule(data=st.data())
    def retry(self, data):
        ended = Run.objects.filter(state__in=BADLY).order_by("pk")
        services.retry(run=data.draw(st.sampled_from(list(ended))), actor="user:1")

    @rule()
    def sweep(self):
        services.sweep()

    @invariant()
    def all_invariants_hold(self):
        if hasattr(self, "world"):
            assert broken() == []

    @invariant()
    def what_has_ended_stays_and_progress_never_falls(self):
        if not hasattr(self, "world"):
            return
        for run in Run.objects.all():
            if self.seen.get(run.pk) in TERMINAL:
                assert run.state == self.seen[run.pk]
            self.seen[run.pk] = run.state
        for pk, done in Shard.objects.values_list("pk", "progress_done"):
            assert done >= self.stored.get(pk, 0)
            self.stored[pk] = done


@pytest.fixture
def machine(submit, take, suite):
    class Bound(Lifecycle):
        submit_run = staticmethod(submit)

    Bound.take = staticmethod(take)
    return Bound


@override_settings(REDRAFT_BACKOFF_SECONDS=0, REDRAFT_MAX_CHARGED=6, REDRAFT_MAX_UNSCORED=0.5)
def test_invariants_hold_whatever_happens(machine):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
