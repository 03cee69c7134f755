"""Reask by logits forces every label once, and mixes what the model says after each."""

import math

import pytest

from evaluators.api import Message
from evaluators.testing import ScriptedContext, play
from redraft_self_correction.reask_logits import reask_logits

LABELS = ("A", "B", "C")
FIRST = (0.6, 0.3, 0.1)
SECOND = {"A": (0.8, 0.1, 0.1), "B": (0.5, 0.4, 0.1), "C": (0.2, 0.2, 0.6)}


def weigh(request):
    """Answer with FIRST, and after a forced label with its row of SECOND."""
    forced = [m.content.split()[-1] for m in request.messages if m.role == "assistant"]
    turns = sum(m.role == "user" for m in request.messages)
    row = SECOND[forced[0]] if turns == 2 else FIRST
    return [math.log(p) for p in row]


async def run(**options):
    return await play(reask_logits, choices=LABELS, **{"gold": "A", "weigh": weigh, **options})


class TestDistributions:
    async def test_keeps_both(self) -> None:
        result = await run()
        assert result.facts["labels"] == list(LABELS)
        assert result.facts["p1"] == pytest.approx(FIRST)
        for row, label in zip(result.facts["p2"], LABELS, strict=True):
            assert row == pytest.approx(SECOND[label])

    async def test_the_answers_are_the_likeliest_before_and_after(self) -> None:
        result = await run()
        first, second = result.answers
        assert (first.text, second.text) == ("A", "A")
        mixed = [
            sum(p * SECOND[j][k] for p, j in zip(FIRST, LABELS, strict=True)) for k in range(3)
        ]
        assert [math.exp(c.logprob) for c in second.likelihoods] == pytest.approx(mixed)
        assert mixed == pytest.approx([0.65, 0.2, 0.15])

    async def test_improves_when_the_second_distribution_does(self) -> None:
        def mends(request):
            turns = sum(m.role == "user" for m in request.messages)
            return [math.log(p) for p in ((0.1, 0.8, 0.1) if turns == 2 else FIRST)]

        result = await run(gold="B", weigh=mends)
        assert [answer.grade.correct for answer in result.answers] == [False, True]
        assert result.answers[1].changed

    async def test_impossible_labels_do_no_harm(self) -> None:
        def sure(request):
            return [0.0, -1e9, -1e9]

        result = await run(weigh=sure)
        assert result.facts["p1"] == [1, 0, 0]
        assert [answer.text for answer in result.answers] == ["A", "A"]


class TestTurns:
    async def test_makes_one_call_and_one_more_per_label(self) -> None:
        result = await run()
        assert (result.calls, result.tokens_out) == (4, 0)
        kinds = [node.kind for node in result.nodes]
        assert sorted(kinds) == sorted(["answer"] * 4 + ["given"] * 3 + ["merge"])

    async def test_every_second_call_stands_on_its_forced_label(self) -> None:
        result = await run()
        nodes = {node.idx: node for node in result.nodes}
        given = [node for node in result.nodes if node.kind == "given"]
        assert [node.text for node in given] == list(LABELS)
        assert all(node.parents == (0,) and node.usage is None for node in given)
        again = [node for node in result.nodes if node.kind == "answer" and node.round == 1]
        assert [nodes[node.parents[0]].text for node in again] == list(LABELS)
        (merge,) = (node for node in result.nodes if node.kind == "merge")
        assert merge.parents == tuple(node.idx for node in again)

    async def test_puts_the_same_question_after_the_label(self) -> None:
        result = await run()
        sample = result.sample
        again = [node for node in result.nodes if node.kind == "answer" and node.round == 1]
        for node, label in zip(again, LABELS, strict=True):
            assert node.messages == (
                *sample.messages, Message("assistant", label), *sample.question,
            )  # fmt: skip

    async def test_a_lead_in_opens_every_answer(self) -> None:
        result = await run(lead_in="The answer is ")
        for node in result.nodes:
            if node.kind == "answer":
                assert node.messages[-1] == Message("assistant", "The answer is ")
        given = [node.text for node in result.nodes if node.kind == "given"]
        assert given == [f"The answer is {label}" for label in LABELS]

    async def test_asks_for_labels_and_never_for_gold(self) -> None:
        ctx = ScriptedContext(gold="A", choices=LABELS, weigh=weigh)
        await reask_logits(ctx, ctx.sample, lead_in="")
        assert all(request.labels for request in ctx.model.requests)
        assert not ctx.used_oracle


async def test_refuses_a_sample_without_options() -> None:
    ctx = ScriptedContext(["A"])
    with pytest.raises(ValueError, match="no options"):
        await reask_logits(ctx, ctx.sample, lead_in="")
