"""A model that does not fit: what is lowered stands with the attempt, and with the failure."""

from __future__ import annotations

import pytest

from leaderboard.catalog.models import LanguageModel
from leaderboard.runs.invariants import broken
from leaderboard.runs.models import Attempt, Run, State

RUNTIME = '''
"""An echo that has room for so many sequences at a time and no more."""
import json, sys
from dataclasses import replace

from evaluators.runtimes.echo import runtime as echo
from evaluators.runtimes.kinds import RuntimeKind
from evaluators.runtimes.spec import ModelSpec

SAY = "import sys; sys.stdout.write(sys.argv[1])"


def command(spec, socket):
    wanted, room = spec.args["max_num_seqs"], spec.args["room"]
    if wanted <= room:
        return echo.command(ModelSpec("echo", "echo", {}, spec.batch_size), socket)
    shortage = {"kind": "device_memory", "needed": wanted * 2**30, "available": room * 2**30}
    event = {"event": "failed", "reason": f"no room for {wanted}", "shortage": shortage}
    return [sys.executable, "-c", SAY, json.dumps(event) + chr(10)]


runtime = RuntimeKind(
    name="cramped", summary="For tests.", command=command, memory=lambda spec: spec.args
)
'''


@pytest.fixture
def cramped(transactional_db, tmp_path, monkeypatch):
    """Models of an installed runtime that may be asked for less memory."""
    (tmp_path / "cramped_runtime.py").write_text(RUNTIME)
    info = tmp_path / "cramped-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cramped\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[redraft.runtimes]\ncramped = cramped_runtime:runtime\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def make(**args) -> LanguageModel:
        return LanguageModel.objects.create(
            label="cramped", source="bundled", location="", runtime="cramped",
            model_class="cramped", args=args, engine_key=f"cramped-{args}",
        )  # fmt: skip

    return make


def ended(run: Run) -> tuple[str, str]:
    run.refresh_from_db()
    return (run.state, run.failure_id)


def test_what_was_lowered_stands_with_attempt_and_manifest(cramped, submit, work):
    (run,) = submit("reask", model=cramped(max_num_seqs=64, room=32))
    work()
    assert ended(run) == (State.COMPLETED, "")
    (rung,) = Attempt.objects.get().rungs
    assert rung == {
        "argument": "max_num_seqs", "before": 64, "after": 32, "reason": "no room for 64",
    }  # fmt: skip
    assert run.manifest["attempts"]["memory_ladder"] == [rung]
    assert broken() == []


def test_refuses_with_the_numbers_what_fits_on_no_rung(cramped, submit, work):
    (run,) = submit("reask", model=cramped(max_num_seqs=64, room=2))
    work()
    assert ended(run) == (State.FAILED, "run:app:out-of-memory")
    assert "no room for 32" in run.failure_detail
    attempt = Attempt.objects.get()  # asking again would change nothing
    assert [(rung["before"], rung["after"]) for rung in attempt.rungs] == [(64, 32)]
    assert attempt.outcome == "failed"
    assert broken() == []
