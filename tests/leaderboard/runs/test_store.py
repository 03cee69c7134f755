"""Stored completions: the first counts, and what is asked together is looked up together."""

from __future__ import annotations

import asyncio

from evaluators.engine import SharedModel
from evaluators.model import ChatRequest, Completion, Sampling, Usage, user
from leaderboard.runs.execution.database import DatabaseThread
from leaderboard.runs.execution.store import DatabaseStore
from leaderboard.runs.models import Generation

REQUEST = ChatRequest((user("2+2?"),), Sampling())


def completion(text: str) -> Completion:
    return Completion(text, "stop", Usage(3, 1), seconds=0.5)


def using(body):
    """Run a coroutine function on a store of its own database thread."""

    async def main():
        database = DatabaseThread("test")
        store = DatabaseStore(database, fingerprint="f" * 64)
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

        async def counting(function, *args):
            calls.append(function.__name__)
            return await inner(function, *args)

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
