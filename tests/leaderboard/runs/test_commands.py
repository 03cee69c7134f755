"""The commands around runs, as they are typed."""

from __future__ import annotations

import threading
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from leaderboard.accounts.models import User
from leaderboard.catalog.models import EvaluatorVersion, Suite
from leaderboard.runs.models import Attempt, Run, State
from tests.leaderboard.runs.conftest import expire


def run(*words, **options) -> str:
    out = StringIO()
    call_command(*words, stdout=out, **options)
    return out.getvalue()


@pytest.fixture
def ready(transactional_db, suite, evaluators):
    """A catalogue, and somebody to submit."""
    return User.objects.create_superuser("admin")


class TestSubmit:
    def test_submits_and_says_what_exists(self, ready):
        words = ("submit", "echo", "single_pass", "reask", "--suite=flips", "--limit=5")
        first = run(*words, "--param=reask.rounds=2")
        assert Run.objects.count() == 2
        assert Run.objects.get(evaluator__name="reask").params == {"rounds": 2}
        assert Run.objects.first().submission.user == ready
        assert "(exists)" not in first
        assert run(*words, "--param=reask.rounds=2").count("(exists)") == 2

    def test_waits_with_progress(self, ready, work):
        thread = threading.Thread(target=self.later, args=(work,))
        thread.start()
        said = run("submit", "echo", "reask", "--suite=flips", "--limit=24", "--wait")
        thread.join()
        assert said.splitlines()[-1].endswith("reask: COMPLETED 24/24")

    def later(self, work):
        while not Run.objects.exists():
            pass
        try:
            work()
        finally:
            connection.close()

    @pytest.mark.parametrize(
        ("words", "reason"),
        [
            (("echo", "reassk"), "Did you mean reask"),
            (("echo", "reask", "--param=rounds=0"), "rounds"),
            (("echo", "reask", "--param=rounds"), "NAME=VALUE"),
            (("echo", "reask", "--model-args=dely=1"), "no argument 'dely'"),
            (("/no/such/model", "reask"), "no such folder"),
            (("echo", "reask", "--suite=flip"), "Did you mean flips"),
            (("echo", "reask", "--user=nobody"), "no user 'nobody'"),
            (("echo", "reask", "--limit=0"), "limit"),
        ],
    )
    def test_refuses_in_one_line(self, ready, words, reason):
        options = [] if any(word.startswith("--suite") for word in words) else ["--suite=flips"]
        with pytest.raises(CommandError) as caught:
            run("submit", *words, *options)
        assert reason in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not Run.objects.exists()


def test_sweep_goes_round_once(submit, begin):
    submit("reask")
    expire(begin())
    assert run("sweep").startswith("lost 1, used_up 0, overdue 0, stopped 0")
    assert Attempt.objects.get().outcome == "lost"


def test_sync_plugins_fills_the_catalogue(db):
    said = run("sync_plugins")
    assert "new: reask" in said
    assert f"{EvaluatorVersion.objects.count()} evaluators, {Suite.objects.count()} suites" in said


def test_run_local_does_one_run_now(transactional_db, submit):
    (wanted,) = submit("reask")
    said = run("run_local", wanted.public_id)
    wanted.refresh_from_db()
    assert wanted.state == State.COMPLETED
    assert said.split()[:2] == [wanted.public_id, "COMPLETED"]


def test_run_local_refuses_an_unknown_run(db):
    with pytest.raises(CommandError, match="no run 'run_x'"):
        run("run_local", "run_x")


def test_worker_refuses_an_unknown_hardware_class(db):
    with pytest.raises(CommandError, match="must be of cpu, endpoint, gpu"):
        run("worker", "--hardware=tpu")
