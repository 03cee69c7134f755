"""Prompt packs on the server: chosen in the form, applied to the letter, told apart on boards."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client, override_settings
from django.urls import reverse

from evaluators.cards import prompts_of
from evaluators.cli import run_command
from evaluators.errors import BadParameter, NotInstalled
from evaluators.formats.reading import read_one, read_runs
from evaluators.registry import load_evaluator
from leaderboard.accounts.models import User
from leaderboard.boards.models import Entry
from leaderboard.boards.rows import reproduce_command
from leaderboard.catalog.models import EvaluatorVersion, PackVersion
from leaderboard.catalog.packs import chosen_pack, sync_packs
from leaderboard.runs import services
from leaderboard.runs.execution.packs import Packs
from leaderboard.runs.invariants import broken
from leaderboard.runs.models import Node, Run, RunControl, SampleResult, State, Worker
from leaderboard.runs.services.exporting import pack as archive
from leaderboard.runs.worker import WorkerOptions, run_worker
from tests.leaderboard.runs.conftest import echo

IMPROVE = "redraft_self_correction/review_improve/improve"
"""The last prompt of review_improve."""


class Folder:
    """An operator's folder of packs."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, text: str, *, name: str = "ours", version: str = "1", more: str = "") -> None:
        """Write a pack of one prompt, or change it."""
        path = self.root / name / f"{IMPROVE}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        about = f'name = "{name}"\nversion = "{version}"\nsource = "appendix S"\n{more}'
        (self.root / name / "pack.toml").write_text(about)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    with override_settings(
        REDRAFT_PROMPT_PACKS=tmp_path,
        REDRAFT_BACKOFF_SECONDS=0.05,
        REDRAFT_HEARTBEAT_SECONDS=0.1,
    ):
        yield Folder(tmp_path)


@pytest.fixture
def pack(folder: Folder, db: None) -> PackVersion:
    folder.put("Mend it.")
    sync_packs()
    return PackVersion.objects.get()


@pytest.fixture
def ask(user: User, suite: Any, evaluators: Any) -> Any:
    """Submit review_improve in the words of a pack; returns the run."""

    def make(pack: str = "ours", evaluator: str = "review_improve", **options: Any) -> Run:
        found = services.submit(
            user=user,
            model=echo(),
            suite=suite,
            evaluators=[(evaluator, {})],
            limit=4,
            packs={evaluator: pack},
            **options,
        )
        return found.runs[0]

    return make


def ended(run: Run) -> tuple[str, str]:
    run.refresh_from_db()
    return (run.state, run.failure_id)


def last_questions(run: Run) -> set[str]:
    """What the model was told last in any sample."""
    nodes = Node.objects.filter(result__run=run, kind="answer", round=1)
    return {node.messages[-1]["content"] for node in nodes}


class TestRecording:
    def test_what_the_folder_holds_is_on_offer(self, pack: PackVersion) -> None:
        assert (pack.name, pack.version, pack.folder, pack.source) == (
            "ours", "1", "ours", "appendix S",
        )  # fmt: skip
        assert list(pack.prompts) == [IMPROVE]
        assert chosen_pack("ours")[0] == pack

    def test_changed_words_stand_beside_the_old_ones(
        self, folder: Folder, pack: PackVersion
    ) -> None:
        folder.put("Mend it well.")
        found = sync_packs()
        assert (found.added, found.removed, found.total) == (("ours 1",), ("ours 1",), 1)
        assert PackVersion.objects.count() == 2
        assert PackVersion.objects.get(installed=True).digest != pack.digest
        folder.put("Mend it.")
        assert sync_packs().added == ()
        assert PackVersion.objects.get(installed=True) == pack

    def test_a_refused_pack_is_named_with_its_reason_and_never_offered(
        self, folder: Folder, pack: PackVersion, client: Client
    ) -> None:
        folder.put("Mend $it.")
        folder.put("Mend it.", name="good")
        out = io.StringIO()
        call_command("sync_plugins", stdout=out)
        reason = f"ours/{IMPROVE}.txt: has unknown $it"
        assert f"refused prompts: ours: {reason}" in out.getvalue()
        assert "prompt packs: 1" in out.getvalue()
        with pytest.raises(NotInstalled):
            chosen_pack("ours")
        client.force_login(User.objects.create_superuser("admin"))
        html = client.get(reverse("admin:catalog_packversion_changelist")).content.decode()
        assert reason in html
        html = client.get(reverse("submit")).content.decode()
        assert 'value="good"' in html
        assert 'value="ours"' not in html

    def test_without_the_folder_there_are_none(self, pack: PackVersion) -> None:
        with override_settings(REDRAFT_PROMPT_PACKS=None):
            assert sync_packs().removed == ("ours 1",)
        assert not PackVersion.objects.filter(installed=True).exists()

    def test_refuses_to_record_a_folder_that_is_gone(
        self, pack: PackVersion, tmp_path: Path
    ) -> None:
        with (
            override_settings(REDRAFT_PROMPT_PACKS=tmp_path / "gone"),
            pytest.raises(CommandError, match="gone: it cannot be read"),
        ):
            call_command("sync_plugins", stdout=io.StringIO())
        assert PackVersion.objects.get().installed


class TestForm:
    @pytest.fixture
    def form(self, pack: PackVersion, user: User, suite: Any, evaluators: Any) -> Any:
        for row in EvaluatorVersion.objects.all():
            prompts = prompts_of(load_evaluator(row.name))
            row.card = {"prompts": [{"package": p.package, "name": p.name} for p in prompts]}
            row.save()
        client = Client()
        client.force_login(user)

        def post(**changes: object) -> Any:
            sent = {
                "source": "bundled", "suite": "flips", "limit": "4", "seed": "0",
                "runtime": "echo", "model_class": "echo", "batch_size": "8",
                "evaluators": ["reask", "review_improve"], "w-review_improve-pack": "ours",
            } | changes  # fmt: skip
            return client.post(reverse("submit"), sent)

        post.client = client  # type: ignore[attr-defined]  # the same visitor
        return post

    def test_offers_packs_to_the_methods_that_they_fit(self, form: Any, pack: PackVersion) -> None:
        html = form.client.get(reverse("submit")).content.decode()
        assert re.findall(r'<select name="w-([^"]*)-pack"', html) == ["review_improve"]
        assert f'<option value="ours">ours 1 ({pack.short})</option>' in html

    def test_each_method_is_asked_in_the_chosen_words(self, form: Any, pack: PackVersion) -> None:
        assert form().status_code == 302
        runs = {run.evaluator.name: run for run in Run.objects.all()}
        assert (runs["reask"].pack, runs["reask"].prompts) == (None, {})
        run = runs["review_improve"]
        assert (run.pack, run.prompts) == (pack, pack.prompts)

    def test_without_a_choice_methods_ask_in_their_own(self, form: Any) -> None:
        assert form(**{"w-review_improve-pack": ""}).status_code == 302
        assert not Run.objects.exclude(pack=None).exists()

    @pytest.mark.parametrize("name", ["theirs", "../ours", "/etc"])
    def test_refuses_what_is_not_on_offer(self, form: Any, name: str) -> None:
        page = form(**{"w-review_improve-pack": name})
        assert page.status_code == 422
        assert 'id="id_w-review_improve-pack_error"' in page.content.decode()
        assert not Run.objects.exists()

    def test_refuses_words_that_changed_since_they_were_recorded(
        self, form: Any, folder: Folder
    ) -> None:
        folder.put("Mend it well.")
        page = form()
        assert page.status_code == 422
        html = page.content.decode()
        assert "its folder holds 1 (sha256" in html
        assert str(folder.root) not in html
        assert not Run.objects.exists()

    def test_ignores_files_that_somebody_sends(self, form: Any, folder: Folder) -> None:
        upload = io.BytesIO(b"Ignore the question.")
        upload.name = "improve.txt"
        assert form(pack=upload, **{"w-review_improve-text": "Ignore it."}).status_code == 302
        assert PackVersion.objects.count() == 1
        assert [path.name for path in folder.root.iterdir()] == ["ours"]


class TestSubmitting:
    def test_other_words_make_another_run(self, folder: Folder, pack: Any, ask: Any) -> None:
        own, theirs = ask(""), ask()
        assert own != theirs
        assert ask() == theirs
        folder.put("Mend it well.")
        sync_packs()
        assert len({own, theirs, ask()}) == 3

    def test_refuses_a_pack_that_has_nothing_for_the_method(self, pack: Any, ask: Any) -> None:
        with pytest.raises(BadParameter, match="stands in for no prompt of reask"):
            ask(evaluator="reask")

    def test_a_retry_keeps_the_words(self, pack: PackVersion, ask: Any) -> None:
        run = ask()
        services.cancel(run=run, actor="user:1")
        again = services.retry(run=run, actor="user:1")
        assert (again.pack, again.prompts, again.identity) == (pack, pack.prompts, run.identity)

    def test_the_command_line_names_a_pack(self, pack: PackVersion, suite: Any, evaluators: Any):
        PackVersion.objects.all().delete()  # nobody has looked yet
        names = ["submit", "echo", "review_improve", "reask", "--suite", "flips", "--no-controls"]
        call_command(*names, "--limit", "4", "--prompts", "ours", stdout=io.StringIO())
        found = dict(Run.objects.values_list("evaluator__name", "pack__name"))
        assert found == {"review_improve": "ours", "reask": None}
        names = ["submit", "echo", "reask", "--suite", "flips", "--user", "local"]
        with pytest.raises(CommandError, match="stands in for no prompt of reask"):
            call_command(*names, "--prompts", "ours")


class TestWorking:
    def test_a_run_is_asked_in_the_recorded_words(self, pack: Any, ask: Any, work: Any) -> None:
        own, theirs = ask(""), ask()
        work()
        assert (ended(own), ended(theirs)) == ((State.COMPLETED, ""),) * 2
        assert last_questions(theirs) == {"Mend it."}
        assert "Mend it." not in last_questions(own)
        digest = pack.prompts[IMPROVE]
        node = Node.objects.filter(result__run=theirs, kind="answer", round=1).first()
        assert node is not None
        assert node.payload["prompts"][-1] == f"review_improve/improve@{digest}"
        assert theirs.manifest["prompts"] == {
            "name": "ours", "version": "1", "digest": pack.digest, "source": "appendix S",
            "info_parity": True, "prompts": {IMPROVE: digest},
        }  # fmt: skip
        assert "prompts" not in own.manifest
        assert broken() == []

    def test_a_worker_with_other_words_says_so_and_scores_nothing(
        self, folder: Folder, pack: Any, ask: Any, work: Any, client: Client
    ) -> None:
        run = ask()
        folder.put("Mend it well.")

        def stop() -> None:
            try:
                until = time.monotonic() + 20
                while not Worker.objects.exclude(problem="").exists() and time.monotonic() < until:
                    time.sleep(0.02)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                connection.close()

        thread = threading.Thread(target=stop)
        thread.start()
        assert run_worker(WorkerOptions(celery=False)) == 0
        thread.join()
        worker = Worker.objects.get()
        assert worker.problem.startswith(
            f"the prompt pack ours 1 (sha256 {pack.short}) is not here: its folder holds 1 (sha256"
        )
        assert ended(run) == (State.QUEUED, "")
        assert not SampleResult.objects.exists()
        html = client.get(reverse("status")).content.decode()
        assert f"no worker that has the prompts of ours 1 (sha256 {pack.short})" in html
        assert str(folder.root) not in html
        folder.put("Mend it.")
        work()
        assert ended(run) == (State.COMPLETED, "")
        assert last_questions(run) == {"Mend it."}

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            (lambda folder: folder.put("Mend $it."), "has unknown $it"),
            (lambda folder: folder.put("Mend it.", version="2"), "its folder holds 2 "),
            (
                lambda folder: folder.put("Mend it.", more="info_parity = false\n"),
                "info_parity False",
            ),
            (lambda folder: (folder.root / "ours" / "pack.toml").unlink(), "no prompt pack"),
            (lambda folder: folder.root.chmod(0o777), "others may write to it"),
        ],
        ids=["refused", "version", "parity", "gone", "exposed"],
    )
    def test_other_runs_go_on_while_a_pack_is_not_here(
        self, folder: Folder, pack: Any, ask: Any, work: Any, change: Any, problem: str
    ) -> None:
        waiting, other = ask(), ask("")
        change(folder)
        packs = Packs()
        assert packs.able() == []
        assert problem in packs.problems[0]
        work()
        assert (ended(waiting), ended(other)) == ((State.QUEUED, ""), (State.COMPLETED, ""))

    def test_a_claimed_run_whose_words_are_gone_waits(
        self, pack: PackVersion, ask: Any, work: Any
    ) -> None:
        run = ask()
        Run.objects.filter(pk=run.pk).update(prompts={IMPROVE: "of-another-one"})
        work()
        assert ended(run)[0] == State.RETRY_WAIT
        shard = run.shards.get()
        assert shard.failure_id == "run:app:prompts-differ"
        assert not SampleResult.objects.exists()
        Run.objects.filter(pk=run.pk).update(prompts=pack.prompts)
        time.sleep(0.2)
        work()
        assert ended(run) == (State.COMPLETED, "")

    def test_controls_are_asked_in_their_own_words(self, pack: Any, ask: Any, work: Any) -> None:
        run = ask(controls=True)
        work()
        controls = [held.control for held in RunControl.objects.filter(run=run) if held.control]
        assert {control.evaluator.name for control in controls} == {
            "single_pass",
            "self_consistency",
        }
        assert not any(control.pack for control in controls)

    def test_refuses_to_tell_more_than_the_question(
        self, folder: Folder, ask: Any, work: Any
    ) -> None:
        folder.put(r"Mend it in \boxed{}.")
        sync_packs()
        refused = ask()
        work()
        assert ended(refused) == (State.FAILED, "run:user:task-unusable")
        assert rf"{IMPROVE} of the pack ours demands \boxed{{}}" in refused.failure_detail
        folder.put(r"Mend it in \boxed{}.", more="info_parity = false\n")
        sync_packs()
        declared = ask()
        work()
        assert ended(declared) == (State.COMPLETED, "")


class TestResults:
    @pytest.fixture
    def runs(self, folder: Folder, pack: Any, ask: Any, work: Any) -> list[Run]:
        """The same method in three wordings: its own, a pack's, a pack's that tells more."""
        folder.put("Mend it as JSON.", name="paper", version="2", more="info_parity = false\n")
        sync_packs()
        made = [ask(""), ask(), ask("paper")]
        work()
        assert {ended(run) for run in made} == {(State.COMPLETED, "")}
        return made

    def test_each_wording_is_a_row_of_its_own(self, client: Client, runs: Any, pack: Any) -> None:
        assert Entry.objects.count() == 3
        html = client.get(reverse("board")).content.decode()
        rows = re.findall(r"<tr>\n<td class=\"rank\">.*?</tr>", html, re.DOTALL)
        told = {row.count("in the words of"): row for row in rows}
        assert len(rows) == 3
        assert sorted(row.count("in the words of") for row in rows) == [0, 1, 1]
        assert sum("unequal information" in row for row in rows) == 1
        assert "in the words of" not in told[0]
        assert (
            sum(f'<code title="sha256 {pack.digest}">{pack.short}</code>' in r for r in rows) == 1
        )

    def test_tables_name_the_words(self, client: Client, runs: list[Run], pack: Any) -> None:
        csv_text = client.get(reverse("board"), {"format": "csv"}).content.decode()
        rows = {row["run"]: row for row in csv.DictReader(io.StringIO(csv_text))}
        names = ("prompts", "prompts_version", "prompts_sha256", "info_parity")
        told = [tuple(rows[run.public_id][name] for name in names) for run in runs]
        paper = PackVersion.objects.get(name="paper")
        assert told == [
            ("", "", "", "True"),
            ("ours", "1", pack.digest, "True"),
            ("paper", "2", paper.digest, "False"),
        ]
        page = client.get(reverse("board"), {"format": "json"}).json()
        found = {row["run"]: row["prompts_sha256"] for row in page["rows"]}
        assert found[runs[1].public_id] == pack.digest

    def test_pages_name_the_words(self, client: Client, runs: list[Run], pack: Any) -> None:
        model = runs[1].model
        pages = {
            "run": client.get(reverse("run", args=[runs[1].public_id])),
            "model": client.get(reverse("model", args=[model.public_id])),
            "submission": client.get(reverse("submission", args=[runs[1].submission.public_id])),
            "compare": client.get(reverse("compare"), {"run": [run.public_id for run in runs[:2]]}),
        }
        for name, page in pages.items():
            assert f'title="sha256 {pack.digest}"' in page.content.decode(), name
        told = client.get(reverse("run", args=[runs[1].public_id]), {"format": "json"}).json()
        assert told["evaluator"]["prompts"] == runs[1].manifest["prompts"]
        told = client.get(reverse("model", args=[model.public_id]), {"format": "json"}).json()
        by_run = {result["run"]: result["prompts"] for result in told["results"]}
        assert by_run == {run.public_id: run.prompt_pack or None for run in runs}
        assert "--prompts ours" in reproduce_command(runs[1])

    def test_files_carry_the_words_and_bring_them_back(
        self, runs: list[Run], pack: PackVersion, tmp_path_factory: Any, user: User
    ) -> None:
        told = runs[1].manifest["prompts"]
        for form in ("redraft", "lm-eval", "every-eval-ever"):
            out = tmp_path_factory.mktemp(form)
            with archive(runs[1], form, show_location=True) as packed:
                zipfile.ZipFile(packed).extractall(out)
            assert pack.digest in "".join(path.read_text() for path in out.rglob("*.json")), form
            (stored,) = read_runs(out)
            assert stored.run.prompt_pack == told
            back = services.import_run(stored, user=user).run
            assert (back.pack, back.prompts) == (pack, told["prompts"])

    def test_imported_results_are_told_apart_by_their_words(
        self, folder: Folder, pack: Any, tmp_path_factory: Any, user: User, evaluators: Any
    ) -> None:
        out = tmp_path_factory.mktemp("out")
        words = ["--prompts", str(folder.root / "ours"), "--out", str(out), "--json"]
        command = ["run", "review_improve", "--model", "echo", "--task", "echo_flips"]
        assert run_command([*command, "--limit", "4", "--no-controls", *words]) == 0
        run = services.import_run(read_one(out / "review_improve"), user=user).run
        assert (run.state, run.pack, run.prompts) == (State.COMPLETED, pack, pack.prompts)
