"""Warm runtimes go on with their own shards, and still nobody waits for ever."""

from __future__ import annotations

import statistics
from datetime import timedelta

import pytest
from django.db.models import F
from django.test import override_settings

from leaderboard.runs import services
from leaderboard.runs.models import Shard, State
from tests.leaderboard.runs.conftest import echo, prepared

TASK_MINUTES = 1
LOAD_MINUTES = 2
TURN_MINUTES = 10


class Clockwork:
    """One worker under a clock that goes by minutes: waiting shards are made older instead."""

    def __init__(self, begin) -> None:
        self.now = 0
        self.warm = ""
        self.opened = 0
        self.loads = 0
        self.waits: dict[str, list[int]] = {}
        self._begin = begin
        self._queued: dict[int, int] = {}

    def note(self, runs) -> None:
        """Remember when runs were submitted."""
        for run in runs:
            for pk in run.shards.values_list("pk", flat=True):
                self._queued[pk] = self.now

    def pass_by(self, minutes: int) -> None:
        self.now += minutes
        waiting = Shard.objects.filter(state=State.QUEUED)
        waiting.update(queued_at=F("queued_at") - timedelta(minutes=minutes))

    def work(self) -> bool:
        """Do the next shard to its end, loading its model first if it is not the warm one."""
        turn = bool(self.warm) and self.now - self.opened < TURN_MINUTES
        held = self._begin(warm=self.warm, turn=turn)
        if held is None:
            return False
        if held.engine_key != self.warm:
            self.loads += 1
            self.pass_by(LOAD_MINUTES)
            self.warm, self.opened = held.engine_key, self.now
        waited = self.now - self._queued[held.shard]
        self.waits.setdefault(held.engine_key, []).append(waited)
        services.commit_batch(held, prepared(0))
        assert services.finish(held)
        self.pass_by(TASK_MINUTES)
        return True


@pytest.fixture
def clockwork(take):
    def begin(**options):
        held = take(**options)
        if held is not None:
            services.start(held, facts={})
        return held

    return Clockwork(begin)


@override_settings(REDRAFT_AGED_SECONDS=600)
def test_a_steady_stream_for_one_model_does_not_starve_another(submit, clockwork):
    """New work for the warm model arrives as fast as it is done; another model's waits its turn."""
    popular, rare = echo(), echo(delay=1.0)
    clockwork.note(submit("reask", model=popular, limit=1))
    assert clockwork.work()
    clockwork.note(submit("reask", model=rare, limit=1))
    for seed in range(1, 40):
        clockwork.note(submit("reask", model=popular, limit=1, seed=seed))
        assert clockwork.work()
        if rare.engine_key in clockwork.waits:
            break
    # ten minutes of waiting, ten of the other's turn at most, one shard and the load
    (waited,) = clockwork.waits[rare.engine_key]
    assert 10 <= waited <= 10 + TURN_MINUTES + TASK_MINUTES + LOAD_MINUTES


@override_settings(REDRAFT_AGED_SECONDS=600)
def test_two_long_queues_take_turns_instead_of_loading_for_every_shard(submit, clockwork):
    """Both models' shards are older than ten minutes: in turn by turn, not shard by shard."""
    models = [echo(), echo(delay=1.0)]
    for seed in range(20):
        for model in models:
            clockwork.note(submit("reask", model=model, limit=1, seed=seed))
    clockwork.pass_by(20)
    while clockwork.work():
        pass
    waits = [wait for found in clockwork.waits.values() for wait in found]
    assert [len(found) for found in clockwork.waits.values()] == [20, 20]
    assert clockwork.loads <= 40 // TURN_MINUTES + 1  # 40 without turns
    assert max(waits) / statistics.median(waits) <= 3


def test_a_turn_never_outranks_priority(submit, take):
    warm = echo(delay=1.0)
    submit("reask", model=warm)
    (urgent,) = submit("reask")
    urgent.shards.update(priority=1)
    assert take(warm=warm.engine_key, turn=True).run == urgent.pk


def test_a_suspect_is_left_to_others_while_another_is_in_hand(submit, take):
    (suspect,) = submit("reask")
    (other,) = submit("reask", seed=1)
    suspect.shards.update(alone=True)
    assert take(suspects=True).run == other.pk
    assert take(suspects=True) is None
    assert take().run == suspect.pk
