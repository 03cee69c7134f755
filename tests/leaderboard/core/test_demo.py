"""What the demonstration tells of its runs."""

from __future__ import annotations

import pytest

from evaluators.metrics import Trajectory, decompose
from leaderboard.accounts.models import User
from leaderboard.boards import demo
from leaderboard.boards.models import Entry, TaskEntry
from leaderboard.catalog.models import EvaluatorVersion, LanguageModel, Suite
from leaderboard.runs.models import Run, Shard, State, Submission

pytestmark = pytest.mark.django_db


@pytest.fixture
def submission():
    model = LanguageModel.objects.create(
        label="tiny", source="bundled", location=demo.MODEL, runtime="echo", engine_key="k"
    )
    suite = Suite.objects.create(name="demo", version="7", digest="d", definition=[])
    user = User.objects.create_superuser("admin")
    return Submission.objects.create(user=user, model=model, suite=suite)


@pytest.fixture
def make(submission):
    """Makes a run of a named evaluator in a state, with one shard."""

    def make(name: str, state: str, *, done: int = 0, size: int | None = 4, **fields) -> Run:
        version = EvaluatorVersion.objects.create(
            name=name, distribution="d", version="1.0", target="t", digest="g"
        )
        run = Run.objects.create(
            submission=submission,
            model=submission.model,
            suite=submission.suite,
            evaluator=version,
            identity=name,
            state=state,
            manifest_sha256="s" if state == State.COMPLETED else "",
            **fields,
        )
        Shard.objects.create(run=run, task="t", size=size, progress_done=done, engine_key="k")
        return run

    return make


def _show(run: Run, *, correct: list[tuple[bool, bool]]) -> None:
    """Put a run on the board with the given first and last answers."""
    found = decompose([Trajectory(str(i), pair, "t") for i, pair in enumerate(correct)])
    entry = Entry.objects.create(
        run=run,
        model=run.model,
        evaluator=run.evaluator,
        suite=run.suite,
        n=found.n,
        n_total=found.n,
    )
    TaskEntry.objects.create(
        entry=entry, task="t", decomposition=found.to_json(), n=found.n, n_total=found.n_total
    )


class TestSummary:
    def test_gives_every_figure_with_its_n_and_interval(self, make):
        run = make("reask", State.COMPLETED, done=4)
        _show(run, correct=[(True, True), (True, False), (False, True), (False, False)])
        told = demo.summary([run.pk])
        assert told["ok"] is True
        assert (told["model"], told["suite"]) == ("tiny", "demo 7")
        (task,) = told["evaluators"][0]["tasks"]
        assert {name: task[name]["value"] for name in demo.FIGURES} == {
            "acc@1": 0.5, "acc@last": 0.5, "CL": 0.5, "CS": 0.5, "RSS": 0.5,
        }  # fmt: skip
        assert (task["n"], task["n_total"]) == (4, 4)
        assert task["acc@1"]["low"] == pytest.approx(0.15, abs=0.005)
        assert task["acc@1"]["high"] == pytest.approx(0.85, abs=0.005)
        assert task["CL"]["denominator"] == 2

    def test_refuses_success_while_a_run_failed_and_says_why(self, make):
        good = make("single_pass", State.COMPLETED)
        _show(good, correct=[(True, True)])
        bad = make(
            "reask",
            State.FAILED,
            failure_id="run:app:too-many-unscored",
            failure_detail="7 of 24: call-refused",
        )
        told = demo.summary([good.pk, bad.pk])
        assert told["ok"] is False
        assert told["reasons"] == [
            "reask failed: Too many samples could not be scored: 7 of 24: call-refused"
        ]

    def test_refuses_success_before_the_end(self, make):
        run = make("reask", State.RUNNING)
        assert demo.summary([run.pk])["reasons"] == ["reask was not finished (Running)"]

    def test_refuses_success_without_a_row_on_the_board(self, make):
        run = make("reask", State.COMPLETED)
        assert demo.summary([run.pk])["reasons"] == ["reask is complete but not on the board"]


class TestStandings:
    def test_a_run_has_settled_when_it_stands_on_the_board_or_failed(self, make):
        complete, failed = make("single_pass", State.COMPLETED), make("reask", State.FAILED)
        running = make("self_refine", State.RUNNING, done=1)
        runs = [complete.pk, failed.pk, running.pk]
        assert [run.settled for run in demo.standings(runs)] == [False, True, False]
        _show(complete, correct=[(True, True)])
        assert [run.settled for run in demo.standings(runs)] == [True, True, False]

    def test_says_how_far_a_run_is(self, make):
        runs = [
            make("reask", State.RUNNING, done=3).pk,
            make("single_pass", State.QUEUED, size=None).pk,
        ]
        told = [(run.evaluator, run.state, run.done, run.total) for run in demo.standings(runs)]
        assert told == [("reask", "Running", 3, 4), ("single_pass", "Queued", 0, None)]
