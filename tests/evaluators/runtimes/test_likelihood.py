"""Likelihoods over a real, if tiny and random, Hugging Face model: lm-eval's own numbers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evaluators.model import ChoiceLikelihood, Message, Sampling, assistant, system, user
from evaluators.runtimes.server.batcher import Batcher
from evaluators.runtimes.server.protocol import Call, LikelihoodCall, Refused, Weighed

pytestmark = [
    # SwigPy types of sentencepiece and torch's own use of deprecated names; nothing of ours.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

CHOICES = ("yes", "no way", " maybe so", "?")
CHATS: list[tuple[Message, ...]] = [
    (user("a"),),
    (user("What is it?"),),
    (system("be brief"), user("tell me " * 12)),
    (user("one"), assistant("two"), user("three " * 9)),
    (user("Go on"), assistant("Answer:")),
    (user("Go on"), assistant("Answer: ")),
]


def hf(lm: Any, *, batch_size: int = 4) -> Batcher:
    from evaluators.runtimes.lm_eval_server.hf import HfBackend

    return Batcher(HfBackend(lm, label="tiny", batch_size=batch_size))


def generic(lm: Any) -> Batcher:
    from evaluators.runtimes.lm_eval_server.generic import GenericBackend

    return Batcher(GenericBackend(lm, label="tiny", batch_size=4))


async def weighed(batcher: Batcher, calls: Sequence[LikelihoodCall]) -> list[Weighed]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(batcher.weigh(call)) for call in calls]
    return [task.result() for task in tasks]


def rendered(lm: Any, messages: Sequence[Message]) -> str:
    wire = [message.wire() for message in messages]
    return str(lm.apply_chat_template(wire, add_generation_prompt=wire[-1]["role"] != "assistant"))


def reference(lm: Any, text: str, choices: Sequence[str]) -> list[tuple[float, bool]]:
    """Return what lm-eval tells of each choice in a call of its own."""
    from lm_eval.api.instance import Instance

    made = [Instance("loglikelihood", {}, (text, choice), 0) for choice in choices]
    found: list[tuple[float, bool]] = []
    for instance in made:
        found += lm.loglikelihood([instance], disable_tqdm=True)
    return found


def told(choices: Sequence[ChoiceLikelihood]) -> list[tuple[float, bool]]:
    return [(pytest.approx(choice.logprob, abs=1e-4), choice.greedy) for choice in choices]


class TestSums:
    @pytest.mark.parametrize("make", [hf, generic])
    async def test_are_lm_evals_own_whoever_waits_beside(self, tiny_lm: Any, make: Any) -> None:
        calls = [LikelihoodCall(CHOICES, messages=chat) for chat in CHATS]
        found = await weighed(make(tiny_lm), calls)
        for answer, chat in zip(found, CHATS, strict=True):
            assert [choice.text for choice in answer.choices] == list(CHOICES)
            expected = reference(tiny_lm, rendered(tiny_lm, chat), CHOICES)
            assert expected == told(answer.choices)

    @pytest.mark.parametrize("make", [hf, generic])
    @pytest.mark.parametrize("prompt", ["Once upon", "Once upon ", ""])
    async def test_follow_a_plain_prompt(self, tiny_lm: Any, make: Any, prompt: str) -> None:
        (found,) = await weighed(make(tiny_lm), [LikelihoodCall((" a time", "x"), prompt=prompt)])
        assert reference(tiny_lm, prompt, [" a time", "x"]) == told(found.choices)

    async def test_equal_calls_and_equal_choices_are_told_apart(self, tiny_lm: Any) -> None:
        call = LikelihoodCall(("a", "b", "a"), messages=CHATS[0])
        first, second = await weighed(hf(tiny_lm), [call, call])
        assert told(first.choices) == [(c.logprob, c.greedy) for c in second.choices]
        assert first.choices[0] == first.choices[2] != first.choices[1]

    async def test_the_greedy_choice_is_what_the_model_writes(self, tiny_lm: Any) -> None:
        batcher = hf(tiny_lm)
        written = await batcher.answer(Call(Sampling(max_tokens=1), messages=CHATS[1]))
        assert written.text.isascii()  # a byte of a longer character could not be given as a text
        call = LikelihoodCall((written.text, "zzz"), messages=CHATS[1])
        (found,) = await weighed(batcher, [call])
        assert [choice.greedy for choice in found.choices] == [True, False]

    async def test_count_every_token_scored(self, tiny_lm: Any) -> None:
        # One token per special and per byte: <|user|> W h y <|end|> <|assistant|>
        call = LikelihoodCall(("no", "maybe"), messages=(user("Why"),))
        (found,) = await weighed(hf(tiny_lm), [call])
        assert [choice.tokens for choice in found.choices] == [2, 5]
        assert found.prompt_tokens == 2 * 6 + 2 + 5

    async def test_long_batches_are_cut_to_the_memory_and_tell_the_same(self, tiny_lm: Any) -> None:
        from evaluators.runtimes.lm_eval_server.likelihood import TokenScales

        scales = TokenScales(tiny_lm)
        ready = [scales.prepare(LikelihoodCall(CHOICES), "x " * n) for n in (1, 60, 3, 2)]
        whole = scales.weigh(ready)
        scales._scores = 1
        assert [told(w.choices) for w in whole] == [
            [(c.logprob, c.greedy) for c in w.choices] for w in scales.weigh(ready)
        ]

    async def test_weigh_while_others_are_being_generated(self, tiny_lm: Any) -> None:
        batcher = hf(tiny_lm)
        alone = (await weighed(batcher, [LikelihoodCall(CHOICES, messages=CHATS[2])]))[0]
        text = (await batcher.answer(Call(Sampling(max_tokens=40), messages=CHATS[0]))).text
        async with asyncio.TaskGroup() as group:
            rows = [
                group.create_task(batcher.answer(Call(Sampling(max_tokens=40), messages=CHATS[0])))
                for _ in range(3)
            ]
            calls = [
                group.create_task(batcher.weigh(LikelihoodCall(CHOICES, messages=CHATS[2])))
                for _ in range(5)
            ]
        assert [row.result().text for row in rows] == [text] * 3
        for call in calls:
            assert told(alone.choices) == [(c.logprob, c.greedy) for c in call.result().choices]


class TestLabels:
    async def test_are_the_next_token_of_the_prompt(self, tiny_lm: Any) -> None:
        import torch

        labels = ("A", "B", "C", "D")
        # The last prompt ends with a space, as templates do with line breaks: it stays there.
        calls = [LikelihoodCall(labels, labels=True, messages=chat) for chat in CHATS]
        found = await weighed(hf(tiny_lm, batch_size=3), calls)
        for answer, chat in zip(found, CHATS, strict=True):
            ids = torch.tensor([tiny_lm.tok_encode(rendered(tiny_lm, chat))])
            with torch.no_grad():
                row = tiny_lm.model(ids).logits[0, -1].log_softmax(-1)
            tokens = [tiny_lm.tok_encode(label, add_special_tokens=False)[0] for label in labels]
            assert [pytest.approx(float(row[token]), abs=1e-4) for token in tokens] == [
                choice.logprob for choice in answer.choices
            ]
            assert answer.prompt_tokens == ids.shape[1]
            assert [choice.tokens for choice in answer.choices] == [1] * 4

    async def test_agree_with_the_sums_of_one_token(self, tiny_lm: Any) -> None:
        for chat in CHATS[:5]:
            label, summed = await weighed(
                hf(tiny_lm),
                [LikelihoodCall(("A", "q"), labels=one, messages=chat) for one in (True, False)],
            )
            assert told(label.choices) == [(c.logprob, c.greedy) for c in summed.choices]

    async def test_a_model_that_scores_all_positions_tells_the_same(self, tiny_lm: Any) -> None:
        from evaluators.runtimes.lm_eval_server.likelihood import TokenScales

        scales = TokenScales(tiny_lm)
        calls = [
            scales.prepare(LikelihoodCall(("A", "B"), labels=True), "why? " * n + ":")
            for n in (1, 9, 4)
        ]
        kept = scales.weigh(calls)
        assert scales._keeps
        scales._keeps = False
        assert [told(w.choices) for w in kept] == [
            [(c.logprob, c.greedy) for c in w.choices] for w in scales.weigh(calls)
        ]

    @pytest.mark.parametrize("label", ["AB", " A", "é"])
    async def test_refuses_a_label_of_several_tokens(self, tiny_lm: Any, label: str) -> None:
        batcher = hf(tiny_lm)
        good = LikelihoodCall(("A", "B"), labels=True, messages=CHATS[0])
        assert len((await batcher.weigh(good)).choices) == 2
        with pytest.raises(Refused, match=f"the label {label!r} is 2 tokens, not one"):
            await batcher.weigh(LikelihoodCall(("A", label), labels=True, messages=CHATS[0]))


class TestRefusals:
    @pytest.mark.parametrize("labels", [True, False])
    async def test_refuses_what_lm_eval_would_cut(self, tiny_lm: Any, labels: bool) -> None:
        # 512 positions; the last token of a choice is looked up, never read.
        batcher = hf(tiny_lm)
        fits = LikelihoodCall(("A",), labels=labels, prompt="x" * 512)
        (found,) = await weighed(batcher, [fits])
        assert math.isfinite(found.choices[0].logprob)
        with pytest.raises(Refused, match="513 tokens and the longest choice 1: together 514"):
            await batcher.weigh(LikelihoodCall(("A",), labels=labels, prompt="x" * 513))

    async def test_the_generic_backend_refuses_it_too(self, tiny_lm: Any) -> None:
        batcher = generic(tiny_lm)
        assert (await batcher.weigh(LikelihoodCall(("AB",), prompt="x" * 510))).prompt_tokens == 512
        with pytest.raises(Refused, match="together 513, more than the 512 that fit"):
            await batcher.weigh(LikelihoodCall(("AB",), prompt="x" * 511))

    async def test_refuses_a_choice_that_adds_nothing(self, tiny_lm: Any) -> None:
        with pytest.raises(Refused, match="the choice '' adds no token to its prompt"):
            await hf(tiny_lm).weigh(LikelihoodCall(("A", ""), prompt="x"))


class TestCapabilities:
    def test_hf_tells_both(self, tiny_lm: Any) -> None:
        assert {"echo", "label_likelihood"} <= hf(tiny_lm).facts.capabilities

    def test_any_other_class_tells_sums(self, tiny_lm: Any) -> None:
        capabilities = generic(tiny_lm).facts.capabilities
        assert "echo" in capabilities
        assert "label_likelihood" not in capabilities

    def test_a_class_without_loglikelihood_tells_nothing(self, tiny_model: Path) -> None:
        from lm_eval.models.huggingface import HFLM

        class Mute(HFLM):
            def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
                raise NotImplementedError("only generation")

        lm = Mute(pretrained=str(tiny_model), device="cpu", dtype="float32", batch_size=4)
        assert generic(lm).facts.capabilities == {"chat", "prefix"}

    async def test_a_model_that_thinks_first_tells_nothing(self, tiny_model: Path) -> None:
        from lm_eval.models.huggingface import HFLM

        lm = HFLM(
            pretrained=str(tiny_model), device="cpu", dtype="float32", enable_thinking=True,
            think_end_token="</think>",  # noqa: S106 - a marker, no secret
        )  # fmt: skip
        for batcher in (hf(lm), generic(lm)):
            assert not batcher.facts.capabilities & {"echo", "label_likelihood"}
            with pytest.raises(Refused, match="the model has no echo"):
                await batcher.weigh(LikelihoodCall(("A",), prompt="x"))
