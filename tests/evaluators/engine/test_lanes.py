"""Transcripts of agents that work at once do not depend on who was answered first."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.api import Context, Outcome, Sample, evaluator, metrics, user
from evaluators.engine import Limits, evaluate
from evaluators.engine.lanes import in_lanes
from evaluators.formats.results import to_identity
from evaluators.model import Completion, Usage
from evaluators.testing import ScriptedTask, play


class SlowInTurn:
    """A model that takes a while for every call, longer or shorter by its number."""

    fingerprint = "slow"
    capabilities = frozenset({"chat"})
    context_window = 1 << 20

    def __init__(self, delays: Sequence[int]) -> None:
        self._delays = delays
        self._calls = 0

    async def complete(self, request) -> Completion:
        """Reply with what only messages and seed decide, as a runtime does."""
        self._calls += 1
        for _ in range(self._delays[self._calls % len(self._delays)]):
            await asyncio.sleep(0)
        said = " ".join(message.content for message in request.messages)
        later = len(request.messages) > len(ScriptedTask().sample("0").messages)
        text = str((len(said) * 31 + (request.sampling.seed or 0)) % 4 if later else 0)
        return Completion(text, "stop", Usage(1, 1))

    async def likelihood(self, request):
        raise NotImplementedError


@evaluator(metrics=[*metrics.decomposition])
async def two_chains(ctx: Context, sample: Sample) -> Outcome:
    """Let two agents talk to themselves side by side."""

    async def chain(agent: str):
        chat = [*sample.messages]
        for number in range(4):
            reply = await ctx.generate(chat, agent=agent, temperature=1.0, round=number // 2)
            chat += [reply.message, user("Go on.")]
        return reply

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(chain(name)) for name in ("b", "a")]
    replies = [task.result() for task in tasks]
    vote = ctx.record("vote", "done", parents=replies)
    return Outcome(replies, facts={"vote": vote.text})


async def played(delays: Sequence[int]):
    task, results = ScriptedTask(), []

    async def keep(result) -> None:
        results.append(result)

    await evaluate(
        two_chains,
        {},
        task=task,
        samples=await task.samples(),
        models={"actor": SlowInTurn(delays)},
        sink=keep,
        limits=Limits(sample_seconds=30),
    )
    return results[0]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=8, max_size=8))
async def test_are_the_same_at_any_speed(delays: list[int]) -> None:
    assert to_identity(await played(delays)) == to_identity(await played([0]))


async def test_go_by_round_then_by_who_began_first() -> None:
    result = await played([0, 5, 0, 0, 3])
    assert [(node.round, node.agent) for node in result.nodes] == [
        (0, "b"), (0, "b"), (0, "a"), (0, "a"), (1, "b"), (1, "b"), (1, "a"), (1, "a"), (0, ""),
    ]  # fmt: skip
    assert [node.idx for node in result.nodes] == [*range(9)]


async def test_every_reference_follows() -> None:
    result = await played([0, 5, 0, 0, 3])
    assert [node.parents for node in result.nodes][4:] == [
        (0, 1),
        (0, 1, 4),
        (2, 3),
        (2, 3, 6),
        (5, 7),
    ]
    assert [answer.node for answer in result.answers] == [5, 7]
    for node in result.nodes:
        shown = [m.node for m in node.messages if m.node is not None]
        assert tuple(shown) == node.parents or node.kind == "vote"
        texts = [m.content for m in node.messages if m.node is not None]
        assert texts == [result.nodes[place].text for place in shown]


async def test_survives_a_parent_that_is_none() -> None:
    @evaluator(metrics=[*metrics.decomposition])
    async def astray(ctx: Context, sample: Sample) -> Outcome:
        """Name a node that does not exist."""
        replies = [await ctx.generate(sample.messages, agent=name, round=1) for name in "ab"]
        ctx.record("vote", "x", parents=[99, replies[0]], agent="a")
        return Outcome(replies)

    result = await play(astray, ["Answer: 1"])
    assert [(node.agent, node.parents) for node in result.nodes] == [
        ("a", ()),
        ("a", (0, 99)),
        ("b", ()),
    ]


@pytest.mark.parametrize("script", [["Answer: 1"], ["Answer: 1", "Answer: 2"]])
async def test_one_speaker_is_left_as_it_was(script: list[str]) -> None:
    @evaluator(metrics=[*metrics.decomposition])
    async def alone(ctx: Context, sample: Sample) -> Outcome:
        """Answer twice."""
        return Outcome([await ctx.generate(sample.messages) for _ in range(2)])

    result = await play(alone, script)
    assert in_lanes(result) is result
