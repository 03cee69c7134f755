"""Every page answers, to everybody, with and without content."""

from __future__ import annotations

import pytest
from django.urls import reverse

from tests.leaderboard import factories as make

pytestmark = pytest.mark.django_db

EMPTY = ["board", "oracle_board", "about", "evaluators", "suites", "status", "login"]


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
        reverse("evaluator", args=["reask"]),
        reverse("suites"),
        reverse("status"),
    ):
        assert client.get(url).status_code == 200, url


def test_submit_shows_every_evaluator(sign_in, owner):
    make.EvaluatorFactory()
    page = sign_in(owner).get(reverse("submit"))
    assert page.status_code == 200
    assert "reask" in page.content.decode()
