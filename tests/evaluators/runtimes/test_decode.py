"""Continuous batching over a real, if tiny and random, Hugging Face model."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from evaluators.model import ChatRequest, Message, Sampling, assistant, system, user
from evaluators.runtimes import ModelSpec, open_runtime
from evaluators.runtimes.server.batcher import Batcher
from evaluators.runtimes.server.protocol import Call, Refused, Reply

pytestmark = [
    # SwigPy types of sentencepiece and torch's own use of deprecated names; nothing of ours.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

QUESTIONS = [
    "a",
    "What is it?",
    "tell me " * 12,
    "12+30=",
    "zzz " * 30,
    "Why",
    "0123456789",
    "é ü ß",
]


def chat(text: str, **sampling: Any) -> Call:
    return Call(Sampling(**{"max_tokens": 24, **sampling}), messages=(user(text),))


def backend(lm: Any, *, batch_size: int) -> Batcher:
    from evaluators.runtimes.lm_eval_server.hf import HfBackend

    return Batcher(HfBackend(lm, label="tiny", batch_size=batch_size))


async def answers(batcher: Batcher, calls: Sequence[Call]) -> list[Reply]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(batcher.answer(call)) for call in calls]
    return [task.result() for task in tasks]


def reference(lm: Any, call: Call) -> str:
    """Return what lm-eval generates for the one request alone."""
    from lm_eval.api.instance import Instance

    wire = [message.wire() for message in call.messages]
    prompt = lm.apply_chat_template(wire, add_generation_prompt=not call.continues)
    settings = {
        "until": list(call.sampling.stop),
        "max_gen_toks": call.sampling.max_tokens,
        "do_sample": False,
    }
    (text,) = lm.generate_until(
        [Instance("generate_until", {}, (prompt, settings), 0)], disable_tqdm=True
    )
    return str(text)


class TestGreedy:
    async def test_a_mixed_batch_gives_what_lm_eval_gives(self, tiny_lm: Any) -> None:
        calls = [chat(text, max_tokens=5 + 7 * i) for i, text in enumerate(QUESTIONS)]
        calls.append(
            Call(Sampling(max_tokens=20), messages=(system("s"), user("q"), assistant("An")))
        )
        mixed = await answers(backend(tiny_lm, batch_size=3), calls)
        assert [reply.text for reply in mixed] == [reference(tiny_lm, call) for call in calls]
        assert any(reply.text for reply in mixed)

    async def test_stop_strings_cut_where_lm_eval_cuts(self, tiny_lm: Any) -> None:
        plain = [chat(text, max_tokens=40) for text in QUESTIONS]
        texts = [reference(tiny_lm, call) for call in plain]
        calls = [
            chat(question, max_tokens=40, stop=(text[9:11], "never seen"))
            for question, text in zip(QUESTIONS, texts, strict=True)
        ]
        replies = await answers(backend(tiny_lm, batch_size=8), calls)
        assert [reply.text for reply in replies] == [reference(tiny_lm, call) for call in calls]
        shorter = [r for r, text in zip(replies, texts, strict=True) if len(r.text) < len(text)]
        assert len(shorter) >= 4
        assert {reply.finish_reason for reply in shorter} == {"stop"}
        assert all(reply.completion_tokens < 40 for reply in shorter if reply.completion_tokens)

    async def test_counts_and_finish_reasons_are_exact(self, tiny_lm: Any) -> None:
        (reply,) = await answers(backend(tiny_lm, batch_size=2), [chat("Why", max_tokens=7)])
        assert reply.completion_tokens == 7
        assert reply.finish_reason == "length"
        # One token per special and per byte: <|user|> W h y <|end|> <|assistant|>
        assert reply.prompt_tokens == 6

    async def test_repetition_penalty_of_the_model_counts(self, tiny_lm: Any) -> None:
        config = tiny_lm.model.generation_config
        config.repetition_penalty = 1.7
        try:
            calls = [chat(text) for text in QUESTIONS]
            mixed = await answers(backend(tiny_lm, batch_size=4), calls)
            penalised = [reference(tiny_lm, call) for call in calls]
        finally:
            config.repetition_penalty = None
        assert [reply.text for reply in mixed] == penalised
        assert penalised != [reference(tiny_lm, call) for call in calls]


class TestSampling:
    CALLS = tuple(
        chat(text, temperature=0.7 + i / 5, top_p=1.0 if i % 2 else 0.8, seed=100 + i)
        for i, text in enumerate(QUESTIONS)
    )

    async def test_a_row_does_not_depend_on_its_batch_mates(self, tiny_lm: Any) -> None:
        alone = await answers(backend(tiny_lm, batch_size=1), self.CALLS)
        greedy = [chat(text) for text in QUESTIONS]
        together = await answers(backend(tiny_lm, batch_size=5), [*greedy, *self.CALLS])
        assert [r.text for r in together[len(greedy) :]] == [r.text for r in alone]
        assert [r.text for r in together[: len(greedy)]] == [
            reference(tiny_lm, call) for call in greedy
        ]

    async def test_seeds_decide(self, tiny_lm: Any) -> None:
        batcher = backend(tiny_lm, batch_size=8)
        seeds = [1, 2, 1, -1, 2**63 + 5, None, None]
        replies = await answers(batcher, [chat("a", temperature=1.0, seed=seed) for seed in seeds])
        texts = [reply.text for reply in replies]
        assert texts[0] == texts[2]
        assert len(set(texts)) == len(texts) - 1

    async def test_a_narrow_nucleus_is_greedy(self, tiny_lm: Any) -> None:
        batcher = backend(tiny_lm, batch_size=8)
        narrow = await answers(
            batcher, [chat(t, temperature=1.0, top_p=1e-6, seed=3) for t in QUESTIONS]
        )
        greedy = await answers(batcher, [chat(text) for text in QUESTIONS])
        assert [r.text for r in narrow] == [r.text for r in greedy]

    def test_frequencies_follow_the_distribution(self) -> None:
        import torch

        from evaluators.runtimes.lm_eval_server.sampling import Dice, draw

        scores = torch.log(torch.tensor([0.5, 0.25, 0.15, 0.1]))
        dice = [Dice(Sampling(temperature=1.0, seed=1), torch.device("cpu"))]
        wide = [int(draw(scores[None].clone(), dice)) for _ in range(4000)]
        assert [wide.count(token) / 4000 for token in range(4)] == pytest.approx(
            [0.5, 0.25, 0.15, 0.1], abs=0.03
        )
        dice = [Dice(Sampling(temperature=1.0, top_p=0.7, seed=1), torch.device("cpu"))]
        narrow = [int(draw(scores[None].clone(), dice)) for _ in range(4000)]
        assert set(narrow) == {0, 1}
        assert narrow.count(0) / 4000 == pytest.approx(2 / 3, abs=0.03)


def _thoughts(lm: Any) -> Iterator[tuple[str, str, str, str]]:
    """Yield questions whose answers hold one letter once, and another both before and after it."""
    for question in QUESTIONS:
        full = reference(lm, chat(question, max_tokens=60))
        for marker in (c for c in full if c.isascii() and full.count(c) == 1):
            before, after = full.split(marker)
            shared = [c for c in after[1:-3] if c in before and c.isascii() and c.isprintable()]
            if shared:
                yield question, full, marker, shared[0]


class TestThinking:
    @pytest.mark.parametrize("as_token", [False, True], ids=["text", "token"])
    async def test_stops_count_after_the_thinking_only(
        self, tiny_lm: Any, *, as_token: bool
    ) -> None:
        """What lm-eval documents, and does whenever a batch mate keeps the row going."""
        from lm_eval.models.utils import postprocess_generated_text

        question, full, marker, early = next(_thoughts(tiny_lm))
        (token,) = tiny_lm.tokenizer.encode(marker, add_special_tokens=False)
        tiny_lm.think_end_token = token if as_token else marker
        try:
            call = chat(question, max_tokens=60, stop=(early,))
            (reply,) = await answers(backend(tiny_lm, batch_size=1), [call])
        finally:
            tiny_lm.think_end_token = None
        assert reply.text == postprocess_generated_text(full, [early], marker)
        assert reply.finish_reason == "stop"
        assert full.index(marker) < (reply.completion_tokens or 0) < 60


class TestRefusals:
    async def test_refuses_what_does_not_fit_and_serves_what_just_does(self, tiny_lm: Any) -> None:
        batcher = backend(tiny_lm, batch_size=2)
        with pytest.raises(
            Refused, match="prompt has 6 tokens and max_tokens is 507: together 513"
        ):
            await batcher.answer(chat("Why", max_tokens=507))
        assert (await batcher.answer(chat("Why", max_tokens=506))).prompt_tokens == 6

    async def test_refuses_an_empty_prompt(self, tiny_lm: Any) -> None:
        with pytest.raises(Refused, match="empty"):
            await backend(tiny_lm, batch_size=2).answer(Call(Sampling(max_tokens=3), prompt=""))


class TestCancel:
    async def test_dropped_rows_leave_and_the_others_stay_right(self, tiny_lm: Any) -> None:
        batcher = backend(tiny_lm, batch_size=8)
        calls = [chat(text, max_tokens=200) for text in QUESTIONS]
        doomed = [asyncio.create_task(batcher.answer(call)) for call in calls[::2]]
        kept = [asyncio.create_task(batcher.answer(call)) for call in calls[1::2]]
        await asyncio.sleep(0.1)
        for task in doomed:
            task.cancel()
        texts = [(await task).text for task in kept]
        assert texts == [reference(tiny_lm, call) for call in calls[1::2]]


class TestStaticBatches:
    @pytest.mark.parametrize("shrinks", [True, False])
    async def test_without_joining_the_texts_are_the_same(
        self, tiny_lm: Any, *, shrinks: bool
    ) -> None:
        """The way of caches that allow less; forced here, on a model whose cache allows all."""
        from evaluators.runtimes.lm_eval_server.hf import HfBackend

        static = HfBackend(tiny_lm, label="tiny", batch_size=4)
        static._decoder.joins = False
        static._decoder._shrinks = shrinks
        batcher = Batcher(static)
        calls = [chat(text, max_tokens=5 + 4 * i) for i, text in enumerate(QUESTIONS)]
        doomed = [asyncio.create_task(batcher.answer(call)) for call in calls[:3]]
        await asyncio.sleep(0.01)
        for task in doomed:
            task.cancel()
        replies = await answers(batcher, calls)
        assert [reply.text for reply in replies] == [reference(tiny_lm, call) for call in calls]

    async def test_models_whose_cache_cannot_be_joined_give_the_same(
        self, tiny_model: Path, tmp_path: Path
    ) -> None:
        """A sliding window keeps the cache from being joined, not from being right."""
        import torch
        from lm_eval.models.huggingface import HFLM
        from transformers import AutoTokenizer, MistralConfig, MistralForCausalLM

        folder = tmp_path / "sliding"
        shutil.copytree(tiny_model, folder)
        torch.manual_seed(5)
        config = MistralConfig(
            vocab_size=len(AutoTokenizer.from_pretrained(folder)), hidden_size=32,
            intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            sliding_window=16,
            max_position_embeddings=512, bos_token_id=0, eos_token_id=1, pad_token_id=2,
            initializer_range=0.5,
        )  # fmt: skip
        MistralForCausalLM(config).save_pretrained(folder)
        lm = HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=4)
        batcher = backend(lm, batch_size=3)
        calls = [chat(text, max_tokens=5 + 4 * i) for i, text in enumerate(QUESTIONS)]
        replies = await answers(batcher, calls)
        assert [reply.text for reply in replies] == [reference(lm, call) for call in calls]


async def test_end_to_end(tiny_model: Path, tiny_lm: Any) -> None:
    """The child process gives the same texts, and a fingerprint that names the weights."""
    spec = ModelSpec(
        "lm-eval", "hf", {"pretrained": str(tiny_model), "dtype": "float32", "device": "cpu"}
    )
    calls = [chat(text) for text in QUESTIONS]
    async with open_runtime(spec) as model:
        assert model.capabilities == {
            "chat", "prefix", "echo", "label_likelihood", "token_logprobs", "top_logprobs",
        }  # fmt: skip
        assert (model.context_window, model.info.dtype) == (512, "float32")
        assert model.info.has_chat_template
        assert set(model.info.versions) >= {"lm_eval", "transformers", "torch"}
        assert "model.safetensors" in model.info.identity["files"]
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(model.complete(ChatRequest(call.messages, call.sampling)))
                for call in calls
            ]
        texts = [task.result().text for task in tasks]
        odd = await model.complete(
            ChatRequest((Message("user", "\0 \udc80 " * 9),), Sampling(max_tokens=3))
        )
    assert texts == [reference(tiny_lm, call) for call in calls]
    assert odd.usage.completion_tokens == 3


async def test_any_other_model_class_is_served() -> None:
    """lm-eval's dummy has no tokenizer here: no chat, no counts, and it says so."""
    async with open_runtime(ModelSpec("lm-eval", "dummy", batch_size=2)) as model:
        assert model.capabilities == {"prefix", "echo"}
        assert not model.info.exact_usage
        async with asyncio.TaskGroup() as group:
            request = ChatRequest((user("hello"),), Sampling(stop=("x",)))
            tasks = [group.create_task(model.complete(request)) for _ in range(5)]
    assert [task.result().text for task in tasks] == ["lol"] * 5
