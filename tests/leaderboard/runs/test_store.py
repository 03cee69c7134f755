"""Stored completions: the first counts, and what is asked together is looked up together."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluators.engine import SharedModel
from evaluators.errors import RuntimeUnavailable
from evaluators.model import (
    ChatRequest,
    ChoiceLikelihood,
    Completion,
    Likelihoods,
    Sampling,
    TokenLogprob,
    Usage,
    user,
)
from leaderboard.runs.execution.database import DatabaseThread
from leaderboard.runs.execution.store import DatabaseStore
from leaderboard.runs.models import Generation
from leaderboard.runs.services.generations import (
    Made,
    find_generations,
    keep_generations,
    storable_answer,
)

REQUEST = ChatRequest((user("2+2?"),), Sampling())


def completion(text: str) -> Completion:
    return Completion(text, "stop", Usage(3, 1), seconds=0.5)


def using(body, *, fingerprint="f" * 64, scope=""):
    """Run a coroutine function on a store of its own database thread."""

    async def main():
        database = DatabaseThread("test")
        store = DatabaseStore(database, fingerprint=fingerprint, scope=scope)
        try:
            return await body(store)
        finally:
            await store.close()
            await database.close()

    with asyncio.Runner() as runner:
        return runner.run(main())


def test_the_first_text_is_the_one_that_counts(transactional_db):
    async def body(store):
        first = completion("four")
        assert await store.put("k", REQUEST, first) is first
        second = await store.put("k", REQUEST, completion("4"))
        return second.text, (await store.get("k")).text, await store.get("unknown")

    assert using(body) == ("four", "four", None)


def test_two_at_once_agree(transactional_db):
    async def body(store):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(store.put("k", REQUEST, completion(t))) for t in "ab"]
        return {task.result().text for task in tasks}

    assert len(using(body)) == 1
    assert Generation.objects.count() == 1


def test_a_hundred_lookups_cost_a_few_statements(transactional_db):
    calls = []

    async def body(store):
        inner = store._database

        async def counting(function, *args, **named):
            calls.append(function.__name__)
            return await inner(function, *args, **named)

        store._database = counting
        async with asyncio.TaskGroup() as group:
            for number in range(100):
                group.create_task(store.get(f"k{number}"))

    using(body)
    assert len(calls) <= 2


def test_what_is_kept_is_what_everybody_gets(transactional_db):
    class Messy:
        fingerprint, capabilities, context_window = "m", frozenset({"chat"}), 100
        calls = 0

        async def complete(self, request):
            self.calls += 1
            return completion("nul\0 \ud83d")

    async def body(store):
        model = Messy()
        first = await SharedModel(model, store=store).complete(REQUEST)
        again = await SharedModel(model, store=store).complete(REQUEST)
        return first.text, again.text, again.cached, model.calls

    assert using(body) == ("nul \ufffd", "nul \ufffd", True, 1)


LIKELY = Likelihoods(
    (ChoiceLikelihood(" yes", -0.25, 1, True), ChoiceLikelihood(" no", -3.0, 2, False)),
    Usage(12, 0),
)
WITH_LOGPROBS = replace(
    completion("four"), logprobs=(TokenLogprob("fo", -0.5, (("fo", -0.5), ("si", -1e-7))),)
)


@pytest.mark.parametrize("answered", [completion("four"), WITH_LOGPROBS, LIKELY], ids=type)
def test_what_comes_back_is_what_was_stored(transactional_db, answered):
    async def body(store):
        await store.put("k", REQUEST, answered)
        return await store.get("k")

    assert replace(using(body), seconds=answered.seconds) == answered


NUMBERS = st.floats(max_value=0, min_value=-1e6, allow_nan=False)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(st.characters(codec=None), max_size=20), logprob=NUMBERS, other=NUMBERS)
def test_no_number_or_letter_makes_a_row_look_corrupted(db, text, logprob, other):
    made = storable_answer(
        Completion(
            text, "stop", Usage(1, 1), logprobs=(TokenLogprob(text, logprob, ((text, other),)),)
        )
    )
    likely = storable_answer(Likelihoods((ChoiceLikelihood(text, logprob, 1, False),), Usage(1, 0)))
    Generation.objects.all().delete()
    keep_generations({"a": Made("m", made), "b": Made("m", likely)})
    assert find_generations(["a", "b"], fingerprint="m") == {"a": made, "b": likely}


CORRUPTIONS = {
    "another text": {"text": "five"},
    "another ending": {"finish_reason": "length"},
    "other tokens": {"tokens_out": 9},
    "another logprob": {"logprobs": [["fo", -0.1, [["fo", -0.5]]]]},
    "no list of tokens": {"logprobs": [["fo"]]},
    "likelihoods instead": {"choices": [["four", 0.0, 1, True]]},
    "no digest": {"digest": ""},
}


@pytest.mark.parametrize("change", CORRUPTIONS.values(), ids=list(CORRUPTIONS))
def test_a_corrupted_row_is_dropped_and_made_anew(transactional_db, caplog, change):
    async def first(store):
        await store.put("k", REQUEST, WITH_LOGPROBS)

    async def again(store):
        lost = await store.get("k")
        await store.put("k", REQUEST, WITH_LOGPROBS)
        return lost, await store.get("k")

    using(first)
    Generation.objects.update(**change)
    lost, found = using(again)
    assert lost is None
    assert (found.text, found.logprobs) == ("four", WITH_LOGPROBS.logprobs)
    assert "do not fit their digest or model: ['k']" in caplog.text


def test_a_row_that_was_corrupted_before_it_is_stored_again_loses(transactional_db):
    async def first(store):
        await store.put("k", REQUEST, completion("four"))

    async def again(store):
        return (await store.put("k", REQUEST, completion("4"))).text, (await store.get("k")).text

    using(first)
    Generation.objects.update(text="five")
    assert using(again) == ("4", "4")


def test_another_models_answer_is_never_served(transactional_db):
    async def write(store):
        await store.put("k", REQUEST, completion("of the other"))

    async def read(store):
        served = await store.get("k")
        kept = await store.put("k", REQUEST, completion("of this one"))
        return served, kept.text

    using(write, fingerprint="a" * 64)
    assert using(read, fingerprint="b" * 64) == (None, "of this one")
    assert Generation.objects.get().fingerprint == "b" * 64


def test_what_an_endpoint_answered_is_shared_within_its_submission_only(transactional_db):
    async def write(store):
        await store.put("k", REQUEST, completion("today"))

    async def read(store):
        found = await store.get("k")
        return found and found.text

    using(write, scope="submission:1")
    assert using(read, scope="submission:1") == "today"
    assert using(read, scope="submission:2") is None
    assert using(read) is None


def test_nobody_waits_for_ever_for_a_store_that_failed(transactional_db):
    async def body(store):
        async def broken(function, *args, **named):
            raise TypeError("no")

        store._database = broken
        with pytest.raises(RuntimeUnavailable, match="runtime-unavailable"):
            await store.get("k")
        store._pump.exception()

    using(body)
