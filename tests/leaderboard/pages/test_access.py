"""Role x URL x method: a declared matrix, tried to exhaustion; a URL without a rule fails."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from leaderboard.catalog.keys import store_key
from leaderboard.runs.models import State
from tests.leaderboard import factories as make

pytestmark = pytest.mark.django_db

ROLES = ("anonymous", "stranger", "owner", "staff")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
OPEN = {"GET": dict.fromkeys(ROLES, 200)}
"""Everybody reads, nobody writes."""
TO_LOGIN = 302

RULES = {
    "board": OPEN,
    "oracle_board": OPEN,
    "about": OPEN,
    "compare": OPEN,
    "methods": OPEN,
    "method": OPEN,
    "methods_moved": {"GET": dict.fromkeys(ROLES, 301)},
    "method_moved": {"GET": dict.fromkeys(ROLES, 301)},
    "suites": OPEN,
    "status": OPEN,
    "healthz": OPEN,
    "model": OPEN,
    "run": OPEN,
    "manifest": OPEN,
    "files": OPEN,
    "samples": OPEN,
    "sample": OPEN,
    "sample_text": OPEN,
    "submission": OPEN,
    "submit": {
        "GET": {"anonymous": TO_LOGIN, "stranger": 200, "owner": 200, "staff": 200},
        "POST": {"anonymous": TO_LOGIN, "stranger": 422, "owner": 422, "staff": 422},
        "other": {"anonymous": TO_LOGIN, "stranger": 405, "owner": 405, "staff": 405},
    },
    "keys": {
        "GET": {"anonymous": TO_LOGIN, "stranger": 200, "owner": 200, "staff": 200},
        "other": {"anonymous": TO_LOGIN, "stranger": 405, "owner": 405, "staff": 405},
    },
    "key_delete": {
        "GET": {"anonymous": TO_LOGIN, "stranger": 405, "owner": 405, "staff": 405},
        "POST": {"anonymous": TO_LOGIN, "stranger": 404, "owner": 302, "staff": 404},
        "other": {"anonymous": TO_LOGIN, "stranger": 405, "owner": 405, "staff": 405},
    },
    "run_cancel": {
        "GET": {"anonymous": TO_LOGIN, "stranger": 405, "owner": 405, "staff": 405},
        "POST": {"anonymous": TO_LOGIN, "stranger": 404, "owner": 302, "staff": 302},
        "other": {"anonymous": TO_LOGIN, "stranger": 405, "owner": 405, "staff": 405},
    },
    "run_hold": {
        "GET": {"anonymous": TO_LOGIN, "stranger": 405, "owner": 405, "staff": 405},
        "POST": {"anonymous": TO_LOGIN, "stranger": 404, "owner": 302, "staff": 302},
        "other": {"anonymous": TO_LOGIN, "stranger": 405, "owner": 405, "staff": 405},
    },
    "run_retry": {
        "GET": {"anonymous": TO_LOGIN, "stranger": 405, "owner": 405, "staff": 405},
        "POST": {"anonymous": TO_LOGIN, "stranger": 404, "owner": 302, "staff": 302},
        "other": {"anonymous": TO_LOGIN, "stranger": 405, "owner": 405, "staff": 405},
    },
    "login": {
        "GET": {"anonymous": 200, "stranger": 302, "owner": 302, "staff": 302},
        "POST": {"anonymous": 200, "stranger": 302, "owner": 302, "staff": 302},
    },
    "logout": {
        "GET": dict.fromkeys(ROLES, 405),
        "POST": dict.fromkeys(ROLES, 302),
        "other": dict.fromkeys(ROLES, 405),
    },
}
"""Expected status by URL, method and role; methods not named are refused with 405."""

HIDDEN = ("run", "manifest", "files", "samples", "sample", "sample_text", "submission")
"""URLs that answer 404 to all but owner and staff when the run is not published."""


def patterns() -> dict[str, URLPattern]:
    found = {}
    todo = list(get_resolver().url_patterns)
    while todo:
        entry = todo.pop()
        if isinstance(entry, URLResolver):
            if entry.app_name != "admin":
                todo += entry.url_patterns
        else:
            assert entry.name, f"{entry.pattern} has no name"
            found[entry.name] = entry
    return found


@pytest.fixture
def scene(finished, owner, stranger, staff):
    """Clients by role, and the arguments of every URL."""
    sample = finished.results.first()
    clients = {"anonymous": Client(), "stranger": Client(), "owner": Client(), "staff": Client()}
    for role, user in (("stranger", stranger), ("owner", owner), ("staff", staff)):
        clients[role].force_login(user)
    key = store_key(user=owner, origin="https://host:443", secret="of-the-owner")  # noqa: S106
    arguments = {
        "key_delete": [key.public_id],
        "method": ["reask"],
        "method_moved": ["reask"],
        "model": [finished.model.public_id],
        "submission": [finished.submission.public_id],
        "files": [finished.public_id, "redraft"],
        "sample": [finished.public_id, sample.pk],
        "sample_text": [finished.public_id, sample.pk, "node-0"],
    }
    for name in ("run", "run_cancel", "run_hold", "run_retry", "manifest", "samples"):
        arguments[name] = [finished.public_id]
    return clients, {name: reverse(name, args=arguments.get(name, [])) for name in RULES}


def test_every_url_has_a_rule():
    named = {name for name in patterns() if not name.startswith("api")}
    assert named == set(RULES)


def status(answer) -> int:
    if answer.streaming:
        answer.getvalue()  # it holds a file open until it is read
    return answer.status_code


def expected(name: str, method: str, role: str) -> int:
    rule = RULES[name]
    return (
        rule.get(method, rule.get("other", {}))[role] if method in rule or "other" in rule else 405
    )


@pytest.mark.parametrize("name", sorted(RULES))
def test_answers_as_declared(scene, name):
    clients, urls = scene
    found, wanted = {}, {}
    for role in ROLES:
        for method in METHODS:
            if name == "logout" and method == "POST":
                continue  # tried below: it would end the session that the others need
            found[role, method] = status(clients[role].generic(method, urls[name]))
            wanted[role, method] = expected(name, method, role)
    assert found == wanted


def test_logs_out_by_post_only(scene):
    clients, urls = scene
    assert clients["owner"].get(urls["logout"]).status_code == 405
    assert clients["owner"].post(urls["logout"]).status_code == 302
    assert clients["owner"].get(urls["submit"]).status_code == TO_LOGIN


@pytest.mark.parametrize("name", HIDDEN)
def test_hides_what_is_not_published(scene, finished, name):
    clients, urls = scene
    finished.published = False
    finished.save()
    answers = {role: status(clients[role].get(urls[name])) for role in ROLES}
    assert answers == {"anonymous": 404, "stranger": 404, "owner": 200, "staff": 200}


def test_refuses_a_sample_of_another_run(client, finished):
    other = make.RunFactory(state=State.COMPLETED)
    key = finished.results.first().pk
    assert client.get(reverse("sample", args=[other.public_id, key])).status_code == 404
    assert client.get(reverse("sample", args=[finished.public_id, key])).status_code == 200


@pytest.mark.parametrize(("role", "status"), [("stranger", 302), ("owner", 302), ("staff", 200)])
def test_admin_is_for_staff(scene, role, status):
    clients, _ = scene
    assert clients[role].get("/administration/").status_code == status


def test_every_table_is_in_the_admin(scene):
    clients, _ = scene
    ours = [m for m in apps.get_models() if m.__module__.startswith("leaderboard.")]
    assert set(ours) <= set(admin.site._registry)
    for model in ours:
        url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        assert clients["staff"].get(url).status_code == 200, url


def test_refuses_a_post_without_token(finished, owner):
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    assert client.post(reverse("run_cancel", args=[finished.public_id])).status_code == 403
