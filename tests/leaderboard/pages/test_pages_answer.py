"""Every page answers, to everybody, with and without content."""

from __future__ import annotations

import pytest
from django.urls import reverse

from leaderboard.runs.models import State
from tests.leaderboard import factories as make

pytestmark = pytest.mark.django_db

EMPTY = ["board", "oracle_board", "about", "methods", "suites", "status", "login"]


@pytest.mark.parametrize("name", EMPTY)
def test_answers_on_an_empty_server(client, name):
    assert client.get(reverse(name)).status_code == 200


def test_answers_about_a_finished_run(client, finished):
    sample = finished.results.first()
    for url in (
        reverse("board"),
        reverse("model", args=[finished.model.public_id]),
        reverse("run", args=[finished.public_id]),
        reverse("submission", args=[finished.submission.public_id]),
        reverse("samples", args=[finished.public_id]),
        reverse("sample", args=[finished.public_id, sample.pk]),
        reverse("method", args=["reask"]),
        reverse("suites"),
        reverse("status"),
    ):
        assert client.get(url).status_code == 200, url


def test_submit_shows_every_evaluator(sign_in, owner):
    make.EvaluatorFactory()
    page = sign_in(owner).get(reverse("submit"))
    assert page.status_code == 200
    assert "reask" in page.content.decode()


def test_a_plugin_may_have_any_name(client):
    """An entry point's name is the author's choice, also that of a plugin that cannot be used."""
    make.EvaluatorFactory(name="odd/name .v2?", problem="ValueError: no")
    html = client.get(reverse("methods")).content.decode()
    url = reverse("method", args=["odd/name .v2?"])
    assert url in html
    assert "ValueError: no" in client.get(url).content.decode()


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/runs/run_none/", 404, "There is no such run."),
        ("/models/none/", 404, "There is no such model."),
        ("/methods/none/", 404, "ever installed here"),
        ("/nothing/here", 404, "There is no such page."),
        ("/?sort=none", 400, "sort must be one of: rank, model"),
    ],
)
def test_refusals_say_why(client, path, status, words):
    page = client.get(path)
    assert page.status_code == status
    assert words in page.content.decode()


def test_a_suite_that_was_replaced_keeps_its_board(client):
    old = make.SuiteFactory(current=False, version="0")
    submission = make.SubmissionFactory(suite=old, model__label="org/then")
    make.completed(make.RunFactory(submission=submission, state=State.COMPLETED))
    make.SuiteFactory(version="1")
    assert "org/then" not in client.get("/", {"suite": "demo", "format": "json"}).content.decode()
    key = f"demo@{old.digest[:8]}"
    assert "org/then" in client.get("/", {"suite": key, "format": "json"}).content.decode()
