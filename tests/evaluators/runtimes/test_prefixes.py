"""Later turns of a chat take over what the model made of the earlier ones, and change no text."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from evaluators.model import Message, Sampling, assistant, user
from evaluators.runtimes.server.batcher import Batcher
from evaluators.runtimes.server.protocol import Call

pytestmark = [
    # SwigPy types of sentencepiece and torch's own use of deprecated names; nothing of ours.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

QUESTIONS = ["a", "What is it?", "tell me " * 9, "12+30=", "zzz " * 12, "Why", "é ü ß"]


async def converse(lm: Any, *, keeps: bool, turns: int = 3) -> tuple[list[list[str]], int]:
    """Hold chats side by side; return their texts and the prompt tokens that were computed."""
    from evaluators.runtimes.lm_eval_server.hf import HfBackend

    backend = HfBackend(lm, label="tiny", batch_size=4)
    if not keeps:
        backend._decoder.prefixes = None
    batcher = Batcher(backend)

    async def chat(question: str, number: int) -> list[str]:
        messages: tuple[Message, ...] = (user(question),)
        texts: list[str] = []
        for turn in range(turns):
            call = Call(Sampling(max_tokens=9 + 5 * number - turn), messages=messages)
            texts.append((await batcher.answer(call)).text)
            messages = (*messages, assistant(texts[-1]), user(f"Again {turn}?"))
        return texts

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(chat(q, n)) for n, q in enumerate(QUESTIONS)]
    return [task.result() for task in tasks], backend._decoder.prefilled


async def test_texts_are_the_same_and_most_of_the_prompts_is_not_computed_again(
    tiny_lm: Any,
) -> None:
    kept, computed = await converse(tiny_lm, keeps=True)
    plain, all_tokens = await converse(tiny_lm, keeps=False)
    assert kept == plain
    assert len({text for texts in kept for text in texts}) > len(QUESTIONS)
    assert computed < 0.6 * all_tokens


async def test_branches_of_one_chat_take_over_the_same_first_turn(tiny_lm: Any) -> None:
    from evaluators.runtimes.lm_eval_server.hf import HfBackend

    backend = HfBackend(tiny_lm, label="tiny", batch_size=4)
    batcher, probed = Batcher(backend), backend._decoder.prefilled
    first = await batcher.answer(Call(Sampling(max_tokens=12), messages=(user("What is it?"),)))
    spent = backend._decoder.prefilled - probed
    assert spent == first.prompt_tokens
    asked = 0
    for again in ("Sure?", "Why?"):
        chat = (user("What is it?"), assistant(first.text), user(again))
        asked += (await batcher.answer(Call(Sampling(max_tokens=3), messages=chat))).prompt_tokens
    assert backend._decoder.prefilled - probed - spent <= asked - 2 * spent


async def test_other_chats_with_the_same_beginning_are_computed_whole(tiny_lm: Any) -> None:
    from evaluators.runtimes.lm_eval_server.hf import HfBackend

    backend = HfBackend(tiny_lm, label="tiny", batch_size=4)
    batcher, probed = Batcher(backend), backend._decoder.prefilled
    calls = [Call(Sampling(max_tokens=3), messages=(user(text),)) for text in ("abcd", "abcde")]
    replies = [await batcher.answer(call) for call in calls]
    assert backend._decoder.prefilled - probed == sum(reply.prompt_tokens or 0 for reply in replies)


class TestPool:
    def states(self, positions: int) -> Any:
        import torch

        part = torch.zeros((1, positions, 4))  # 16 bytes a position
        return {0: (part, part)}

    def shared(self, pool: Any, prompt: Sequence[int]) -> int:
        found = pool.longest(prompt)
        return found[1] if found else 0

    def test_shares_up_to_the_first_difference_and_leaves_the_last_token(self) -> None:
        from evaluators.runtimes.lm_eval_server.prefixes import Prefixes

        pool = Prefixes()
        pool.keep([1, 2], [3, 4, 5], self.states(4))
        assert self.shared(pool, [1, 2, 3, 9, 9]) == 3
        assert self.shared(pool, [1, 2, 3, 4, 5, 6]) == 4
        assert self.shared(pool, [1, 2, 3]) == 2
        assert self.shared(pool, [1, 2]) == 1
        assert self.shared(pool, [1, 9, 3]) == 0
        assert self.shared(pool, [9]) == 0

    def test_takes_the_longest(self) -> None:
        from evaluators.runtimes.lm_eval_server.prefixes import Prefixes

        pool = Prefixes()
        pool.keep([1], [2, 3], self.states(2))
        pool.keep([1, 2, 7], [8, 9], self.states(4))
        assert self.shared(pool, [1, 2, 7, 8, 5, 5]) == 4

    def test_forgets_what_has_not_been_used_for_longest(self) -> None:
        from evaluators.runtimes.lm_eval_server.prefixes import Prefixes

        pool = Prefixes(limit=3 * 32 * 2)  # room for three rows of two positions
        for number in (10, 20, 30):
            pool.keep([number], [1, 2], self.states(2))
        assert self.shared(pool, [10, 1, 5]) == 2
        pool.keep([40], [1, 2], self.states(2))
        assert [self.shared(pool, [n, 1, 5]) for n in (10, 20, 30, 40)] == [2, 0, 2, 2]
        pool.keep([50], [1] * 9, self.states(9))
        assert self.shared(pool, [50, 1, 5]) == 0
