"""A key is planted and used for real; afterwards it is nowhere to be read (S8)."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
from collections.abc import Iterator

import pytest
from django.apps import apps
from django.db import connection
from django.urls import reverse
from django.utils import timezone
from kombu.exceptions import OperationalError

from evaluators.testing.stub_server import StubOptions, StubServer, serve
from leaderboard.boards.services import refresh
from leaderboard.catalog.models import EndpointKey, EvaluatorVersion, LanguageModel
from leaderboard.celery import app
from leaderboard.runs.hardware import Slot
from leaderboard.runs.models import Run, State
from leaderboard.runs.services.keys import KEPT, expire_keys
from leaderboard.runs.tasks import wait_for_hints
from tests.leaderboard import factories as make
from tests.leaderboard.runs.conftest import record, suite, work  # noqa: F401 - fixtures

CANARY = "sk-canary-Zq7-0123456789abcdef"
ENDPOINT = (Slot(("endpoint",)),)


@pytest.fixture
def endpoint() -> Iterator[StubServer]:
    """An endpoint that asks for the canary, in a thread of its own."""
    ready, stop = threading.Event(), threading.Event()
    found: list[StubServer] = []

    async def main() -> None:
        async with serve(StubOptions(model="tiny", key=CANARY)) as stub:
            found.append(stub)
            ready.set()
            await asyncio.to_thread(stop.wait)

    def run() -> None:
        with asyncio.Runner() as runner:
            runner.run(main())

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(10)
    yield found[0]
    stop.set()
    thread.join()


@pytest.fixture
def scene(transactional_db, settings, endpoint, suite, client):  # noqa: F811 - fixtures
    """Submit the endpoint with the canary through the form, as its owner."""
    settings.REDRAFT_ENDPOINT_ALLOW = [endpoint.url.removeprefix("http://").removesuffix("/v1")]
    record("reask")
    client.force_login(make.UserFactory(username="owner", is_staff=True, is_superuser=True))
    return client


def form(endpoint: StubServer, **changes: object) -> dict[str, object]:
    return {
        "source": "endpoint", "endpoint_url": endpoint.url, "endpoint_model": "tiny",
        "endpoint_key": CANARY, "endpoint_concurrency": "4", "runtime": "lm-eval",
        "model_class": "hf", "batch_size": "8", "suite": "flips", "limit": "3", "seed": "0",
        "evaluators": ["reask"],
    } | changes  # fmt: skip


def in_database() -> list[str]:
    """Name every column of every table in which the canary stands."""
    found = []
    with connection.cursor() as cursor:
        for model in apps.get_models(include_auto_created=True):
            for field in model._meta.local_concrete_fields:
                table, column = connection.ops.quote_name(model._meta.db_table), field.column
                cursor.execute(
                    f'SELECT 1 FROM {table} WHERE "{column}"::text LIKE %s LIMIT 1',  # noqa: S608
                    [f"%{CANARY}%"],
                )
                if cursor.fetchone():
                    found.append(f"{table}.{column}")
    return found


def on_pages(client, run: Run) -> list[str]:
    """Name every page, export and admin page in which the canary stands."""
    key, sample = EndpointKey.objects.first(), run.results.first()
    urls = [
        reverse(name)
        for name in ("board", "oracle_board", "submit", "keys", "status", "methods", "suites")
    ]
    urls += [f"{reverse('board')}?format={form}" for form in ("csv", "json")]
    for name in ("run", "samples", "manifest"):
        urls += [
            reverse(name, args=[run.public_id]),
            reverse(name, args=[run.public_id]) + "?format=json",
        ]
    urls.append(reverse("submission", args=[run.submission.public_id]))
    for name in ("model",):
        url = reverse(name, args=[run.model.public_id])
        urls += [url, f"{url}?format=json"]
    if sample is not None:
        url = reverse("sample", args=[run.public_id, sample.pk])
        urls += [url, f"{url}?format=json"]
    for row in (key, run, run.model, run.submission, sample):
        if row is not None:
            meta = row._meta
            urls.append(reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk]))
    return [url for url in urls if CANARY.encode() in client.get(url).content]


def in_messages() -> list[str]:
    """Return the bodies of everything that was sent to workers."""
    wait_for_hints()
    bodies = []
    with app.connection_for_read() as broker:
        channel = broker.channel()
        for name in ("cpu", "endpoint", "gpu", "chores"):
            try:
                while message := channel.basic_get(name, no_ack=True):
                    bodies.append(json.dumps([str(message.body), message.headers]))
            except OperationalError:
                continue
    return bodies


def test_a_key_that_was_used_is_nowhere_to_be_read(scene, endpoint, work, caplog):  # noqa: F811
    caplog.set_level(logging.DEBUG)
    assert scene.post(reverse("submit"), form(endpoint)).status_code == 302
    messages = in_messages()
    work(slots=ENDPOINT)
    refresh()
    run = Run.objects.get()
    assert (run.state, run.failure_detail) == (State.COMPLETED, "")
    assert any(CANARY in headers.get("Authorization", "") for headers in endpoint.headers)
    assert in_database() == []
    assert on_pages(scene, run) == []
    assert messages
    assert [body for body in messages if CANARY in body] == []
    assert CANARY not in caplog.text
    assert CANARY not in json.dumps(run.manifest)
    assert [name for name, value in os.environ.items() if CANARY in value] == []


def test_an_endpoint_that_refuses_the_key_does_not_publish_it(scene, endpoint, work, caplog):  # noqa: F811
    caplog.set_level(logging.DEBUG)
    wrong = f"{CANARY}-but-wrong"
    scene.post(reverse("submit"), form(endpoint, endpoint_key=wrong))
    work(slots=ENDPOINT)
    run = Run.objects.get()
    assert run.state == State.FAILED
    assert run.failure_id == "run:user:endpoint-unauthorised"
    assert in_database() == []
    assert on_pages(scene, run) == []
    assert CANARY not in caplog.text


def test_a_run_whose_key_was_deleted_says_so(scene, endpoint, work):  # noqa: F811
    scene.post(reverse("submit"), form(endpoint))
    EndpointKey.objects.get().delete()
    work(slots=ENDPOINT)
    run = Run.objects.get()
    assert (run.state, run.failure_id) == (State.FAILED, "run:user:endpoint-key-missing")
    assert endpoint.calls == 0


def test_a_crash_in_the_form_does_not_show_it(scene, endpoint, settings, caplog):
    settings.DEBUG = True
    scene.raise_request_exception = False
    EvaluatorVersion.objects.update(schema={"properties": {"rounds": "not a schema"}})
    page = scene.post(reverse("submit"), form(endpoint, **{"critic-endpoint_key": CANARY}))
    assert page.status_code == 500
    assert "endpoint_key" in page.content.decode()
    assert CANARY not in page.content.decode()
    assert CANARY not in caplog.text


class TestExpiry:
    @pytest.fixture
    def needed(self, db, settings):
        settings.REDRAFT_ENDPOINT_ALLOW = ["localhost:8000"]
        key = EndpointKey.objects.create(
            user=make.UserFactory(),
            origin="http://localhost:8000",
            token="x",  # noqa: S106
        )
        model = LanguageModel.objects.create(
            label="m", source="endpoint", location="http://localhost:8000", runtime="endpoint",
            owner=key.user, key=key, keyed=True, engine_key="k",
        )  # fmt: skip
        self.age(key, 30)
        return model

    @staticmethod
    def age(row, days: float) -> None:
        field = "finished_at" if isinstance(row, Run) else "created_at"
        past = timezone.now() - timezone.timedelta(days=days)
        type(row).objects.filter(pk=row.pk).update(**{field: past})

    def run_of(self, model, *, role="model", **fields) -> Run:
        submission = make.SubmissionFactory(**({"model": model} if role == "model" else {}))
        critic = {"critic_model": model} if role == "critic_model" else {}
        return make.RunFactory(submission=submission, **critic, **fields)

    def test_a_key_goes_a_week_after_its_last_run(self, needed):
        assert KEPT.days == 7
        run = self.run_of(needed, state=State.COMPLETED)
        self.age(run, 6.9)
        assert expire_keys() == 0
        self.age(run, 7.1)
        assert expire_keys() == 1
        needed.refresh_from_db()
        assert (needed.key, needed.keyed) == (None, True)

    @pytest.mark.parametrize("role", ["model", "critic_model"])
    def test_a_key_stays_while_a_run_needs_it(self, needed, role):
        self.age(self.run_of(needed, role=role, state=State.COMPLETED), 30)
        self.run_of(needed, role=role, state=State.QUEUED, params={"rounds": 2})
        assert expire_keys() == 0

    def test_a_key_that_no_run_ever_needed_goes_as_well(self, needed):
        assert expire_keys() == 1

    def test_a_new_key_stays(self, needed):
        self.age(needed.key, 1)
        assert expire_keys() == 0
