"""Results from files: written as runs that everybody can tell from those made here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from evaluators.cli import run_command
from evaluators.errors import BadFile
from evaluators.formats.reading import read_one
from evaluators.formats.results import to_identity
from evaluators.metrics import decompose
from leaderboard.accounts.models import User
from leaderboard.boards.models import Entry
from leaderboard.catalog.models import LanguageModel, Suite
from leaderboard.runs import services
from leaderboard.runs.invariants import broken
from leaderboard.runs.models import Event, Run, SampleResult

TASK = "echo_flips"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    command = ["run", "reask", "--model", "echo", "--task", TASK, "--limit", "24"]
    options = ["--replicates", "2", "--no-controls", "--out", str(out), "--json"]
    assert run_command([*command, *options]) == 0
    return out / "reask"


@pytest.fixture
def lm_eval(folder: Path) -> Path:
    (path,) = folder.rglob("results_*.json")
    return path


@pytest.fixture
def admin(db: None) -> User:
    return User.objects.create_superuser("admin")


def read_board(client: Any, run: Run) -> str:
    suite = run.suite
    key = suite.name if suite.current else f"{suite.name}@{suite.digest[:8]}"
    return client.get(reverse("board"), {"suite": key}).content.decode()


class TestOurs:
    def test_becomes_a_run_like_any_other(self, folder: Path, user: User, evaluators: Any) -> None:
        stored = read_one(folder)
        found = services.import_run(stored, user=user)
        run = found.run
        assert (found.made, run.state, run.imported) == (True, "COMPLETED", "redraft")
        assert (run.replicates, run.params) == (2, {"rounds": 1})
        assert run.evaluator == evaluators["reask"]
        assert broken() == []
        kept = [to_identity(result) for result in services.read_results(run)]
        assert kept == [to_identity(result) for result in stored.results[TASK]]
        assert run.manifest["tasks"][TASK]["digest"] == stored.tasks[TASK].digest
        assert run.manifest["runtime"][0]["imported_from"] == "redraft"

    def test_importing_twice_changes_nothing(self, folder: Path, user: User) -> None:
        first = services.import_run(read_one(folder), user=user)
        before = [model.objects.count() for model in (Run, SampleResult, Event, Suite)]
        again = services.import_run(read_one(folder), user=user)
        assert (again.made, again.run.pk) == (False, first.run.pk)
        assert [model.objects.count() for model in (Run, SampleResult, Event, Suite)] == before

    def test_stands_on_the_board_with_its_mark(
        self, folder: Path, admin: User, client: Any, capsys: Any
    ) -> None:
        call_command("import_results", folder)
        told = capsys.readouterr().out
        assert f"reask of echo on imported-{TASK}-" in told
        assert "COMPLETED (imported from redraft)" in told
        entry = Entry.objects.get()
        expected = decompose(read_one(folder).trajectories(TASK))
        assert entry.estimates["CL"]["value"] == expected["CL"].value
        assert entry.calls == 2
        page = read_board(client, entry.run)
        assert "imported from redraft" in page
        status = client.get(reverse("run", args=[entry.run.public_id])).content.decode()
        assert "evaluated elsewhere and <strong>imported</strong> from files of redraft" in status
        call_command("import_results", folder)
        assert "COMPLETED (exists)" in capsys.readouterr().out

    def test_a_suite_that_fits_takes_it(
        self, tmp_path: Path, user: User, suite: Suite, evaluators: Any
    ) -> None:
        command = ["run", "reask", "--model", "echo", "--task", TASK, "--no-controls", "--json"]
        for limit, expected in (("240", None), ("12", 12)):
            out = tmp_path / limit
            assert run_command([*command, "--limit", limit, "--out", str(out)]) == 0
            run = services.import_run(read_one(out), user=user).run
            assert (run.suite, run.limit) == (suite, expected)
        assert broken() == []

    def test_another_setting_is_another_suite(self, folder: Path, user: User, suite: Suite) -> None:
        stored = read_one(folder)
        specs = {TASK: replace(stored.specs[TASK], num_fewshot=3)}
        run = services.import_run(replace(stored, specs=specs), user=user).run
        assert run.suite != suite
        assert not run.suite.current

    def test_no_worker_ever_takes_it(self, folder: Path, user: User, take: Any) -> None:
        services.import_run(read_one(folder), user=user)
        assert take() is None
        assert LanguageModel.objects.get().runtime == "imported"


class TestOthers:
    def test_costs_that_nobody_recorded_are_null(
        self, lm_eval: Path, admin: User, client: Any
    ) -> None:
        call_command("import_results", lm_eval)
        entry = Entry.objects.get()
        assert (entry.run.imported, entry.evaluator.distribution) == ("lm-eval", "imported")
        assert not entry.evaluator.installed
        assert entry.calls is None
        assert entry.tokens_out is None
        expected = decompose(read_one(lm_eval).trajectories(TASK))
        assert entry.acc_last == expected["acc@last"].value
        assert broken() == []
        assert "imported from lm-eval" in read_board(client, entry.run)

    def test_is_another_run_than_ours(self, folder: Path, lm_eval: Path, user: User) -> None:
        ours = services.import_run(read_one(folder), user=user)
        theirs = services.import_run(read_one(lm_eval), user=user)
        assert theirs.made
        assert ours.run.pk != theirs.run.pk


class TestRefusals:
    def test_refuses_what_is_not_whole_and_writes_nothing(self, folder: Path, user: User) -> None:
        stored = read_one(folder)
        results = stored.results[TASK]
        cases = {
            "47 results where questions and replicates make 48": results[:-1],
            "1 samples wait to be made again": (
                replace(results[0], status="infra_error", answers=()), *results[1:],
            ),
            "there are no samples": (),
        }  # fmt: skip
        for reason, given in cases.items():
            with pytest.raises(BadFile, match=reason):
                services.import_run(replace(stored, results={TASK: given}), user=user)
        assert not Run.objects.exists()
        assert not Suite.objects.exists()

    def test_refuses_names_that_are_too_long(self, folder: Path, user: User) -> None:
        stored = read_one(folder)
        named = [replace(r, sample=replace(r.sample, id="x" * 201 + r.sample.id)) for r in
                 stored.results[TASK]]  # fmt: skip
        with pytest.raises(BadFile, match=r"a name in it has 20[23] characters"):
            services.import_run(replace(stored, results={TASK: tuple(named)}), user=user)

    def test_the_command_says_why_in_one_line(
        self, folder: Path, tmp_path: Path, admin: User
    ) -> None:
        (tmp_path / "manifest.json").write_text(json.dumps({"format": "x"}))
        with pytest.raises(CommandError, match="not a manifest of ours") as caught:
            call_command("import_results", tmp_path)
        assert "\n" not in str(caught.value)
        with pytest.raises(CommandError, match="There is no user 'nobody'"):
            call_command("import_results", folder, user="nobody")
        assert not Run.objects.exists()
