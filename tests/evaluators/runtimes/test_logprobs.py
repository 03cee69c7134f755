"""Log-probabilities of generated tokens: the model's own, before temperature and penalties."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from evaluators.model import Sampling, user
from evaluators.runtimes.server.batcher import Batcher
from evaluators.runtimes.server.protocol import Call, Reply

pytestmark = [
    # SwigPy types of sentencepiece and torch's own use of deprecated names; nothing of ours.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def make(lm: Any) -> Batcher:
    from evaluators.runtimes.lm_eval_server.hf import HfBackend

    return Batcher(HfBackend(lm, label="tiny", batch_size=3))


def ask(text: str, **sampling: Any) -> Call:
    return Call(Sampling(**{"max_tokens": 6, "logprobs": 3, **sampling}), messages=(user(text),))


async def replies(batcher: Batcher, calls: Sequence[Call]) -> list[Reply]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(batcher.answer(call)) for call in calls]
    return [task.result() for task in tasks]


def expected(lm: Any, text: str, steps: int) -> list[tuple[list[str], list[float]]]:
    """Return the three likeliest tokens of every greedy step, from whole forward passes."""
    import torch

    ids = lm.tok_encode(lm.apply_chat_template([{"role": "user", "content": text}]))
    found = []
    with torch.no_grad():
        for _ in range(steps):
            row = lm.model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            values, tokens = row.topk(3)
            found.append(([lm.tokenizer.decode([t]) for t in tokens.tolist()], values.tolist()))
            ids.append(int(tokens[0]))
    return found


class TestGreedy:
    async def test_are_those_of_the_models_own_scores(self, tiny_lm: Any) -> None:
        texts = ["a", "What is it?", "tell me " * 9, "12+30="]
        for text, reply in zip(
            texts, await replies(make(tiny_lm), [ask(t) for t in texts]), strict=True
        ):
            steps = expected(tiny_lm, text, len(reply.logprobs))
            assert len(reply.logprobs) == reply.completion_tokens
            for entry, (tokens, values) in zip(reply.logprobs, steps, strict=True):
                assert entry.token == tokens[0]
                assert entry.logprob == pytest.approx(values[0], abs=1e-4)
                assert [token for token, _ in entry.top] == tokens
                assert [value for _, value in entry.top] == pytest.approx(values, abs=1e-4)

    async def test_only_rows_that_ask_get_them(self, tiny_lm: Any) -> None:
        calls = [ask("a", logprobs=wanted) for wanted in (None, 0, 1)]
        none, own, top = await replies(make(tiny_lm), calls)
        assert none.text == own.text == top.text
        assert none.logprobs == ()
        assert [len(entry.top) for entry in own.logprobs] == [0] * 6
        assert [len(entry.top) for entry in top.logprobs] == [1] * 6

    async def test_penalties_do_not_change_them(self, tiny_lm: Any) -> None:
        (plain,) = await replies(make(tiny_lm), [ask("What is it?", max_tokens=1)])
        config = tiny_lm.model.generation_config
        config.repetition_penalty = 1.7
        try:
            (penalised,) = await replies(make(tiny_lm), [ask("What is it?", max_tokens=1)])
        finally:
            config.repetition_penalty = None
        assert penalised.logprobs[0].top == plain.logprobs[0].top


class TestSampled:
    async def test_temperature_and_nucleus_do_not_change_them(self, tiny_lm: Any) -> None:
        batcher = make(tiny_lm)
        (greedy,) = await replies(batcher, [ask("What is it?", max_tokens=1, logprobs=20)])
        known = dict(greedy.logprobs[0].top)
        calls = [
            ask("What is it?", max_tokens=1, temperature=t, top_p=p, seed=seed, logprobs=20)
            for seed, (t, p) in enumerate([(0.3, 1.0), (2.0, 1.0), (1.0, 0.5)] * 8)
        ]
        drawn = [reply.logprobs[0] for reply in await replies(batcher, calls)]
        assert all(entry.top == drawn[0].top for entry in drawn)
        assert len({entry.token for entry in drawn}) > 3
        for entry in drawn:
            if entry.token in known and entry.token.isascii():  # others are halves of characters
                assert entry.logprob == pytest.approx(known[entry.token], abs=1e-4)
