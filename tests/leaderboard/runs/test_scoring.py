"""A run is only scored when it may be, and then it is sealed."""

from __future__ import annotations

import pytest

from leaderboard.runs import services
from leaderboard.runs.invariants import broken
from leaderboard.runs.models import State
from leaderboard.runs.services.rows import prepare
from leaderboard.runs.services.scoring import seal
from tests.leaderboard.runs.conftest import prepared, result


@pytest.fixture
def finished(submit, begin):
    """Store some scored and some unscored samples, and finish."""

    def finish(scored, unscored=0, **how):
        (run,) = submit("reask", limit=scored + unscored)
        held = begin()
        services.commit_batch(held, prepared(*range(scored)))
        numbers = range(scored, scored + unscored)
        services.commit_batch(held, prepared(*numbers, status="unscored", **how))
        assert services.finish(held)
        run.refresh_from_db()
        return run

    return finish


def test_seals_what_the_results_rest_on(finished):
    run = finished(20, 1)
    assert run.state == State.COMPLETED
    assert run.manifest_sha256 == seal(run.manifest)
    (task,) = run.manifest["results"]["tasks"].values()
    assert (task["n"], task["n_total"], task["flips"]) == (
        20,
        21,
        {"cc": 20, "ci": 0, "ic": 0, "ii": 0},
    )
    assert run.manifest["evaluator"]["params"] == {"rounds": 1}
    assert run.manifest["attempts"] == {
        "shards": 1,
        "outcomes": {"completed": 1},
        "isolation": [],
        "memory_ladder": [],
    }
    assert broken() == []


def test_refuses_a_score_when_too_much_is_missing(finished):
    run = finished(18, 2)
    assert (run.state, run.failure_id) == (State.FAILED, "run:app:too-many-unscored")
    assert run.failure_detail == (
        "2 of 20 samples (10.0%) have no score; "
        "most often sample:app:evaluator-crashed: ValueError: no"
    )
    assert run.manifest is None
    assert broken() == []


def test_refuses_a_score_when_nothing_was_scored(finished):
    run = finished(0, 3, failure=("call-refused", "too long"))
    assert (run.state, run.failure_id) == (State.FAILED, "run:app:nothing-scored")
    assert "sample:model:call-refused: too long" in run.failure_detail


def test_an_oracle_by_deed_is_an_oracle(submit, begin):
    (run,) = submit("reask", limit=2)
    held = begin()
    services.commit_batch(held, [prepare(result(n, oracle=n == 1), position=n) for n in range(2)])
    assert services.finish(held)
    run.refresh_from_db()
    assert run.oracle
