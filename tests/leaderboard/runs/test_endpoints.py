"""Runs on somebody's endpoint: the key goes to its host and nowhere else, answers stay apart."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import contextmanager

import pytest
from django.test import override_settings
from yarl import URL

from evaluators.testing.stub_faults import FaultOptions
from evaluators.testing.stub_server import StubOptions, serve
from leaderboard.catalog.endpoints import origin_of
from leaderboard.catalog.keys import delete_key, store_key
from leaderboard.catalog.services import register_endpoint
from leaderboard.runs.hardware import Slot
from leaderboard.runs.invariants import broken
from leaderboard.runs.models import Generation, Run, Shard, State
from leaderboard.runs.models.work import TERMINAL
from leaderboard.runs.signals import run_finished
from tests.leaderboard.runs.conftest import echo

KEY = "sk-canary-0123456789abcdef"
ANYWHERE = (Slot(("cpu",)), Slot(("endpoint",)))
NEW_KEY = "sk-canary-fedcba9876543210"


@contextmanager
def served(options: StubOptions):
    """Serve a stub from a thread with an event loop of its own."""
    ready, found, loop = threading.Event(), [], asyncio.new_event_loop()
    stop = asyncio.Event()

    async def live() -> None:
        async with serve(options) as stub:
            found.append(stub)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(live(),))
    thread.start()
    ready.wait(10)
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@pytest.fixture
def stub(transactional_db):
    with served(StubOptions(key=KEY)) as found:
        url = URL(found.url)
        with override_settings(REDRAFT_ENDPOINT_ALLOW=[f"{url.host}:{url.port}"]):
            yield found


@pytest.fixture
def endpoint(stub, user):
    return register_endpoint(user=user, url=stub.url, name="stub", secret=KEY)


def ended(run: Run) -> tuple[str, str]:
    run.refresh_from_db()
    return (run.state, run.failure_id)


def test_the_key_goes_to_the_endpoint_and_nowhere_else(submit, work, endpoint, stub, caplog):
    caplog.set_level(logging.DEBUG)
    (run,) = submit("reask", model=endpoint, limit=24)
    assert Shard.objects.get().hardware == "endpoint"
    work(slots=ANYWHERE)
    assert ended(run) == (State.COMPLETED, "")
    assert {call.get("Authorization") for call in stub.headers} == {f"Bearer {KEY}"}
    shard = Shard.objects.get()
    said = f"{run.manifest} {shard.facts} {shard.attempts.values()} {caplog.text}"
    assert KEY not in said
    assert broken() == []


@pytest.mark.parametrize("at_once", [1, 2], ids=["one after the other", "side by side"])
def test_a_key_that_was_replaced_is_not_used_any_more(submit, work, user, at_once):
    """When the first shard is done, its key is replaced; what is made after has the new one."""
    with served(StubOptions(delay=0.02)) as stub:
        url = URL(stub.url)
        allowed = [f"{url.host}:{url.port}"]
        with override_settings(REDRAFT_ENDPOINT_ALLOW=allowed, REDRAFT_BACKOFF_LIMIT_SECONDS=0.01):
            model = register_endpoint(user=user, url=stub.url, name="stub", secret=KEY)
            runs = [submit("single_pass", model=model, limit=n)[0] for n in (2, 48, 24)]
            replaced: list[int] = []

            def replace(**_: object) -> None:
                if not replaced:
                    replaced.append(stub.calls)
                    store_key(user=user, origin=origin_of(model.location), secret=NEW_KEY)

            run_finished.connect(replace)
            try:
                while not all(ended(run)[0] in TERMINAL for run in runs):
                    work(slots=ANYWHERE, shards_at_once=at_once)
            finally:
                run_finished.disconnect(replace)
    assert {ended(run) for run in runs} == {(State.COMPLETED, "")}
    sent = [call.get("Authorization") for call in stub.headers]
    assert sent[0] == f"Bearer {KEY}"
    assert sent[-1] == f"Bearer {NEW_KEY}"
    assert broken() == []


def test_answers_are_shared_within_a_submission_only(submit, work, endpoint, stub):
    first = submit("single_pass", "reask", model=endpoint, limit=6)
    work(slots=ANYWHERE)
    assert Generation.objects.count() == 12  # both methods start from the same six first answers
    second = submit("single_pass", model=endpoint, limit=5)
    work(slots=ANYWHERE)
    assert {ended(run) for run in (*first, *second)} == {(State.COMPLETED, "")}
    assert Generation.objects.count() == 17


def test_an_endpoint_may_be_the_critic_of_a_local_model(submit, work, endpoint, stub):
    (run,) = submit("review_improve", limit=6)
    Run.objects.filter(pk=run.pk).update(critic_model=endpoint)
    work(local_runtimes=1)  # it takes no room
    assert ended(run) == (State.COMPLETED, "")
    calls = Generation.objects.values_list("fingerprint", flat=True)
    critic = run.manifest["critic_runtime"][0]["fingerprint"]
    assert sorted(calls).count(critic) == 6
    assert broken() == []


def test_refuses_a_run_whose_key_was_deleted(submit, work, endpoint, stub):
    (run,) = submit("reask", model=endpoint, limit=6)
    (other,) = submit("reask", model=echo(), limit=6)
    delete_key(endpoint.key)
    work(slots=ANYWHERE)
    assert ended(run) == (State.FAILED, "run:user:endpoint-key-missing")
    assert stub.calls == 0
    assert ended(other) == (State.COMPLETED, "")


# a wait drawn from a month: the run is not taken up again before this test looks at it
@override_settings(REDRAFT_BACKOFF_SECONDS=2.6e6, REDRAFT_BACKOFF_LIMIT_SECONDS=2.6e6)
def test_an_endpoint_that_is_down_is_waited_for_and_nobody_is_blamed(submit, work, user):
    broken_down = FaultOptions(rates={"500": 1.0})
    with served(StubOptions(faults=broken_down, faults_in_a_row=10**6)) as stub:
        url = URL(stub.url)
        with override_settings(REDRAFT_ENDPOINT_ALLOW=[f"{url.host}:{url.port}"]):
            down = register_endpoint(
                user=user, url=stub.url, name="stub", args={"backoff": 0.01, "timeout": 2.0}
            )
            (run,) = submit("reask", model=down, limit=6)
            work(slots=ANYWHERE)
    shard = run.shards.get()
    assert (shard.state, shard.deaths_no_progress) == (State.RETRY_WAIT, 0)
    assert shard.failure_id == "run:app:runtime-died"
    assert shard.attempts.get().outcome == "retry"
    assert run.results.exclude(status="infra_error").count() == 0
    assert broken() == []
