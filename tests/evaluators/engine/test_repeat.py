"""Putting greedy calls again: what stays, what reads otherwise, and what is judged otherwise."""

from __future__ import annotations

from evaluators.api import Context, Outcome, Sample, evaluator
from evaluators.engine import MemoryStore, Repeated, SharedModel, repeat
from evaluators.testing import ScriptedModel, ScriptedTask

GOLD = {"a": "1", "b": "2", "c": "3", "d": "4"}


@evaluator(metrics=[])
async def once(ctx: Context, sample: Sample) -> Outcome:
    """Ask once."""
    return Outcome([await ctx.generate(sample.messages)])


async def repeated(first: list[str], second: list[str], *, count: int = 4) -> Repeated:
    task, store = ScriptedTask(GOLD), MemoryStore()
    samples = await task.samples(count)
    return await repeat(
        once,
        {},
        task=task,
        samples=samples,
        models={"actor": SharedModel(ScriptedModel(first), store=store, in_flight=1)},
        fresh={"actor": SharedModel(ScriptedModel(second), in_flight=1)},
    )


async def test_counts_what_reads_and_what_is_judged_otherwise() -> None:
    first = ["Answer: 1", "Answer: 2", "Answer: 0", "Answer: 4"]
    found = await repeated(first, ["Answer: 1", "So Answer: 2", "Answer: 3", "Answer: 4"])
    assert (found.changed.numerator, found.flipped.numerator) == (2, 1)
    assert (found.flipped.value, found.flipped.n, found.flipped.method) == (0.25, 4, "wilson")
    assert found.flipped.high is not None
    assert found.flipped.high > 0.25


async def test_the_same_texts_still_leave_a_doubt() -> None:
    found = await repeated(["Answer: 1"], ["Answer: 1"])
    assert found.flipped.value == found.changed.value == found.flipped.low == 0
    assert found.flipped.high is not None
    assert 0.4 < found.flipped.high < 0.6


async def test_what_is_stored_is_not_asked_again_and_the_rest_is() -> None:
    task, store = ScriptedTask(GOLD), MemoryStore()
    before, after = ScriptedModel(["Answer: 1"]), ScriptedModel(["Answer: 1"])
    shared = SharedModel(before, store=store)
    for _ in range(2):
        await repeat(
            once,
            {},
            task=task,
            samples=await task.samples(),
            models={"actor": shared},
            fresh={"actor": SharedModel(after)},
        )
    assert (len(before.requests), len(after.requests)) == (4, 8)


async def test_nothing_answered_twice_is_null() -> None:
    found = await repeated(["Answer: 1"], ["Answer: 1"], count=0)
    assert found.flipped.reason == "no question was answered twice"
    assert found.to_json()["flipped"] == found.flipped.to_json()
