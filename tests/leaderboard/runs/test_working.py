"""A worker takes runs from submission to a sealed result, on the echo runtime."""

from __future__ import annotations

from leaderboard.runs.models import SampleResult, State


def test_a_run_goes_from_submission_to_a_sealed_result(submit, work):
    (run,) = submit("reask", limit=24, rounds=1)
    work()
    run.refresh_from_db()
    assert (run.state, run.failure_detail) == (State.COMPLETED, "")
    flips = SampleResult.objects.filter(run=run).values_list("flip", flat=True)
    assert {flip: list(flips).count(flip) for flip in set(flips)} == {
        "cc": 9,
        "ci": 3,
        "ic": 4,
        "ii": 8,
    }


def test_the_board_has_the_row_at_once(submit, work):
    (run,) = submit("reask", limit=24, rounds=1)
    work()
    entry = run.entry
    run.refresh_from_db()
    assert (entry.n, entry.n_total, entry.net_flips) == (24, 24, 1)
    assert (entry.acc_first, entry.acc_last) == (12 / 24, 13 / 24)
    assert (entry.cl, entry.cs) == (9 / 12, 4 / 12)
    assert [t.task for t in entry.tasks.all()] == ["echo_flips"]
