"""A run leaves as files: the library reads ours back, other tools get theirs."""

from __future__ import annotations

import io
import zipfile

import pytest
from django.urls import reverse

from evaluators.formats.eee_reading import find_every_eval_ever, read_every_eval_ever
from evaluators.formats.folder import read_folder
from evaluators.formats.reading import read_runs
from leaderboard.runs import services
from leaderboard.runs.models import Run
from leaderboard.runs.services.exporting import pack, stored_run
from tests.leaderboard.runs.conftest import TASK, echo

FORMS = ("redraft", "lm-eval", "every-eval-ever")


@pytest.fixture
def complete(submit, work):
    """A run that was really made, with several trajectories per question."""
    (run,) = submit("reask", limit=4, replicates=2, model=echo(delay=0.0))
    work()
    run.refresh_from_db()
    return run


def unpacked(run: Run, form: str, folder, **how):
    with pack(run, form, **{"show_location": True, **how}) as archive:
        zipfile.ZipFile(archive).extractall(folder)
    return folder


def test_our_own_files_restore_the_run(complete, tmp_path):
    back = read_folder(unpacked(complete, "redraft", tmp_path / "a"))
    assert back.results[TASK] == tuple(services.read_results(complete))
    assert back.tasks == stored_run(complete).tasks
    assert back.tasks[TASK].sampling.max_tokens > 0
    assert (back.run.evaluator, back.run.seed, back.run.limit) == ("reask", 0, 4)
    assert back.run.fingerprint == complete.shards.first().facts["runtime"]["fingerprint"]
    assert back.specs[TASK].name == TASK
    hidden = read_folder(unpacked(complete, "redraft", tmp_path / "b", show_location=False))
    assert (hidden.run.model_args, back.run.model_args) == ({}, {"delay": 0})


def test_other_tools_get_theirs(complete, tmp_path):
    (lm_eval,) = read_runs(unpacked(complete, "lm-eval", tmp_path / "a"))
    assert {task: len(found) for task, found in lm_eval.results.items()} == {TASK: 8}
    (path,) = find_every_eval_ever(unpacked(complete, "every-eval-ever", tmp_path / "b"))
    assert len(read_every_eval_ever(path).results[TASK]) == 8


def test_equal_contents_are_equal_bytes(complete):
    for form in FORMS:
        made = []
        for _ in range(2):
            with pack(complete, form, show_location=True) as archive:
                made.append(archive.read())
        assert made[0] == made[1], form


def test_the_page_hands_out_archives(client, complete):
    html = client.get(reverse("run", args=[complete.public_id])).content.decode()
    for form in FORMS:
        url = reverse("files", args=[complete.public_id, form])
        assert url in html
        answer = client.get(url)
        name = f"{complete.public_id}-{form}.zip"
        assert answer["Content-Disposition"] == f'attachment; filename="{name}"'
        names = zipfile.ZipFile(io.BytesIO(answer.getvalue())).namelist()
        assert names
        assert not [name for name in names if name.startswith(("/", ".."))]
    task = complete.manifest["tasks"][TASK]
    assert task["sampling"]["temperature"] == 0
    assert task["filter"] in task["filters"]
    assert "config" not in task


@pytest.mark.parametrize("form", ["redraft", "no-such-format", "inspect"])
def test_refuses_what_is_not_there(client, submit, form):
    (run,) = submit("single_pass")
    assert client.get(reverse("files", args=[run.public_id, form])).status_code == 404
    if form == "no-such-format":
        Run.objects.filter(pk=run.pk).update(state="COMPLETED", manifest_sha256="x")
        page = client.get(reverse("files", args=[run.public_id, form]))
        assert page.status_code == 404
        assert "redraft, lm-eval" in page.content.decode()
