"""A task that gives solutions to judge, from the worker to the rows, the files and the pages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evaluators.formats.folder import read_folder, write_folder
from evaluators.model import Given
from evaluators.tasks import TaskSpec
from evaluators.tasks.suite import SuiteTask
from leaderboard.runs import services
from leaderboard.runs.invariants import broken
from leaderboard.runs.models import SampleResult, State
from leaderboard.runs.services.exporting import stored_run
from leaderboard.runs.transcript import as_json
from tests.leaderboard.runs.conftest import record, suite_of

TASK = "bbm_multistep_arithmetic"
ROWS = [
    {"input": "(1 + 2) * 4 =", "steps": ["1 + 2 = 3", "3 * 4 = 11", "So the answer is 11"],
     "target": "12", "answer": "11", "mistake_index": 1},
    {"input": "1 + 1 =", "steps": ["1 + 1 = 2", "So the answer is 2"],
     "target": "2", "answer": "2", "mistake_index": None},
]  # fmt: skip
SOURCES = """
[big_bench_mistake]
files.multistep_arithmetic = { path = "-", local = "m.jsonl", rows = 2 }
"""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers find invented rows where the data set would be."""
    (tmp_path / "m.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    (tmp_path / "sources.toml").write_text(SOURCES)
    monkeypatch.setenv("REDRAFT_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("REDRAFT_SOURCES", str(tmp_path / "sources.toml"))
    monkeypatch.setenv("REDRAFT_CACHE", str(tmp_path / "cache"))


def test_solutions_labels_and_places_reach_rows_files_and_pages(
    data, transactional_db, submit, work, tmp_path
):
    record("locate_mistake")
    (run,) = submit(
        "locate_mistake", on=suite_of(SuiteTask(TaskSpec(TASK)), name="slips"), limit=None
    )
    work()
    run.refresh_from_db()
    assert (run.state, run.failure_id) == (State.COMPLETED, "")
    found = list(services.read_results(run))
    steps = [tuple(row["steps"]) for row in ROWS]
    assert [result.sample.given for result in found] == [
        Given("\n".join(told), told) for told in steps
    ]
    grades = [result.answers[0].grade for result in found]
    assert [(g.correct, g.first_error, g.extracted) for g in grades] == [
        (False, 1, "11"), (True, -1, "2"),
    ]  # fmt: skip
    assert broken() == []

    list(write_folder(tmp_path / "out", stored_run(run)))
    assert read_folder(tmp_path / "out").results[TASK] == tuple(found)

    shown = as_json(SampleResult.objects.get(run=run, position=0))
    assert shown["given"] == {"text": "\n".join(steps[0]), "steps": list(steps[0]), "author": ""}
    assert [answer["first_error"] for answer in shown["answers"]] == [1]
    assert "label" not in json.dumps(shown["given"])
