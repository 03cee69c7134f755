"""Rows are held against their controls once both are on the board, and again when those change."""

from __future__ import annotations

import pytest

from evaluators.controls import PlannedControl, compare_control
from evaluators.metrics import interval_p
from evaluators.metrics.decompose import macro_of
from leaderboard.boards.against import hold_against, significance_of
from leaderboard.boards.models import Against, Entry
from leaderboard.boards.services import refresh
from leaderboard.runs import services
from leaderboard.runs.models import Run, RunControl, State
from tests.leaderboard.factories import Flips
from tests.leaderboard.runs.conftest import (  # noqa: F401 - fixtures
    begin,
    evaluators,
    prepared,
    submit,
    suite,
    take,
    user,
)

RIGHT = [(True, True)] * 8 + [(False, True)] * 4 + [(False, False)] * 4


@pytest.fixture
def complete(begin):  # noqa: F811 - fixture
    """Complete whatever is next in the queue, with samples that end so."""

    def do(pairs) -> None:
        held = begin()
        for right in dict.fromkeys(pairs):
            numbers = [n for n, pair in enumerate(pairs) if pair == right]
            services.commit_batch(held, prepared(*numbers, right=right))
        assert services.finish(held)

    return do


@pytest.fixture
def method(submit, complete) -> Run:  # noqa: F811 - fixture
    """A method whose last answer is right 12 times of 16, and its controls in the queue."""
    (run,) = submit("reask", limit=16, controls=True)
    complete(RIGHT)
    services.sweep()
    run.refresh_from_db()
    return run


def test_a_difference_for_every_control_that_came_in(method, complete):
    assert method.controls.count() == 5
    assert not Against.objects.exists()
    complete([(True,)] * 8 + [(False,)] * 8)  # the greedy answer
    services.sweep()
    held = Against.objects.get()
    assert (held.kind, held.entry, held.n) == ("greedy", method.entry, 16)
    assert held.gain == 12 / 16 - 8 / 16
    difference = held.estimates["difference"]
    assert difference["method"] == "macro"
    assert difference["low"] < held.gain < difference["high"]
    assert held.estimates["control"]["acc"]["value"] == 0.5
    assert held.estimates["method"]["calls"]["value"] == 2
    task = held.tasks["echo_flips"]
    assert (task["n"], task["label"]) == (16, "single_pass")
    assert task["significance"] == {"p": 0.125, "test": "mcnemar exact"}
    assert task["difference"]["method"] == "newcombe paired"
    assert held.estimates["significance"] == task["significance"]  # one task: its exact test


def test_several_tasks_are_tested_by_the_interval_of_their_mean(db):
    planned = PlannedControl("greedy", "single_pass", {})
    sides = [Flips(0, 0, 8, 8), Flips(0, 0, 4, 12)]
    tasks = {
        task: compare_control(planned, *(flips.trajectories(task) for flips in sides))
        for task in ("one", "two")
    }
    mean = macro_of({task: {"difference": c.difference} for task, c in tasks.items()})["difference"]
    test = significance_of(tasks, mean)
    assert test.test == "interval of the mean"
    assert test.p == interval_p(mean)
    assert 0 < test.p < min(c.significance.p for c in tasks.values())


def test_one_run_may_be_several_controls(method, complete):
    complete([(True,)] * 16)
    complete([(True, True)] * 16)
    services.sweep()
    kinds = dict(Against.objects.values_list("kind", "control__run__evaluator__name"))
    assert kinds == {
        "greedy": "single_pass", "sc_calls": "self_consistency", "sc_tokens": "self_consistency",
    }  # fmt: skip
    assert set(Against.objects.values_list("gain", flat=True)) == {-4 / 16}


def test_again_changes_nothing(method, complete):
    complete([(True,)] * 16)
    services.sweep()
    before = list(Against.objects.values())
    assert (refresh(), hold_against()) == (0, 0)
    assert list(Against.objects.values()) == before


def test_another_run_in_its_place_is_compared_anew(method, complete, submit):  # noqa: F811
    complete([(True,)] * 16)
    services.sweep()
    (other,) = submit("single_pass", limit=16, seed=1)
    complete([(False,)] * 16)
    RunControl.objects.filter(run=method, kind="greedy").update(control=other)
    services.sweep()
    held = Against.objects.get(kind="greedy")
    assert (held.control, held.gain) == (Entry.objects.get(run=other), 12 / 16)


def test_a_task_that_is_not_the_same_is_left_out(method, complete):
    complete([(True,)] * 16)
    for run in Run.objects.filter(state=State.COMPLETED):
        run.manifest["tasks"]["echo_flips"]["digest"] = run.public_id
        Run.objects.filter(pk=run.pk).update(manifest=run.manifest)
    services.sweep()
    held = Against.objects.get()
    assert (held.gain, held.n, held.tasks) == (None, 0, {})


def test_goes_with_its_control(method, complete):
    complete([(True,)] * 16)
    services.sweep()
    Entry.objects.filter(run__evaluator__name="single_pass").delete()
    assert not Against.objects.exists()
