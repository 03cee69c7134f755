"""What every answer carries, whatever the page: trace id, security headers, honest failures."""

from __future__ import annotations

import pytest
from django.db import OperationalError, connections
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import path

from leaderboard.core.http import not_found, problem

CSP = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
}


def _away(request):
    raise OperationalError("connection to server at secret-host failed")


urlpatterns = [
    path("page", lambda request: HttpResponse("here"), name="page"),
    path("away", _away),
]


@pytest.fixture
def pages():
    with override_settings(ROOT_URLCONF=__name__):
        yield Client()


class TestHeaders:
    def test_content_security_policy_is_the_strict_one(self, pages):
        policy = pages.get("/page")["Content-Security-Policy"]
        assert dict(part.strip().split(" ", 1) for part in policy.split(";")) == CSP

    def test_browsers_are_told_to_be_careful(self, pages):
        headers = pages.get("/page").headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


class TestTrace:
    def test_each_answer_names_its_own(self, pages):
        first, second = (pages.get("/page")["X-Trace-Id"] for _ in range(2))
        assert first != second
        assert len(first) == 16

    def test_one_handed_over_goes_on(self, pages):
        answer = pages.get("/page", headers={"X-Trace-Id": "from-the-proxy-01"})
        assert answer["X-Trace-Id"] == "from-the-proxy-01"

    def test_refuses_one_that_would_write_into_the_log(self, pages):
        answer = pages.get("/page", headers={"X-Trace-Id": "x" * 12 + " ERROR forged"})
        assert len(answer["X-Trace-Id"]) == 16


class TestDatabaseAway:
    def test_a_page_says_so_and_tells_nothing(self, pages, caplog):
        answer = pages.get("/away")
        assert answer.status_code == 503
        assert answer["Retry-After"] == "5"
        assert b"secret-host" not in answer.content
        assert "database away" in caplog.text

    @pytest.mark.django_db(transaction=True)
    def test_a_page_that_needs_to_know_its_reader_says_so_too(self):
        """The session is read, or saved, outside the view."""
        connection = connections["default"]
        before = dict(connection.settings_dict)
        connection.close()
        connection.settings_dict["HOST"] = "/nowhere"
        client = Client(raise_request_exception=False)
        client.cookies["sessionid"] = "x" * 32
        try:
            for address in ("/", "/administration/", "/healthz"):
                assert client.get(address).status_code == 503, address
        finally:
            connection.settings_dict.update(before)

    @pytest.mark.django_db
    def test_health_is_good_while_it_answers(self, client):
        answer = client.get("/healthz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


class TestProblems:
    def test_carries_the_words_of_its_id(self):
        answer = problem(429, "Slow down", error_id="submit:user:quota", limit=5)
        assert answer["Content-Type"] == "application/problem+json"
        assert answer.status_code == 429
        assert b'"type": "tag:redraft,2026:submit:user:quota"' in answer.content
        assert b'"limit": 5' in answer.content

    def test_refuses_to_say_whether_a_foreign_thing_exists(self):
        assert not_found("run").status_code == 404
