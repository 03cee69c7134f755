"""SmolLM2 served by a real vLLM server: texts and likelihoods are those of lm-eval's own class."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from evaluators.errors import CallRefused, ContextTooLong, RuntimeUnavailable
from evaluators.model import (
    ChatRequest,
    Completion,
    LikelihoodRequest,
    Likelihoods,
    Message,
    Sampling,
    assistant,
    user,
)
from evaluators.runtimes import ModelSpec, RunningModel, canary, open_runtime
from evaluators.runtimes.leftovers import started_by

NAME = "bundled/smollm2-135m-instruct"
WINDOW = 512
STEP = 2048
"""Prompt tokens that vLLM would take in at a time by itself."""
PROMPTS = [
    "What is 3 + 4?", "Name three colours.", "Is the moon made of cheese? Answer yes or no.",
    "Write one short sentence about the sea, and then another one about the mountains.",
    "Count from one to five.", "What is the capital of France?",
]  # fmt: skip
GREEDY = Sampling(max_tokens=24)
STOPPED = Sampling(max_tokens=24, stop=(".",))
PREFIX = (user("What is 3 + 4?"), assistant("The answer is"))
WEIGHED = [
    LikelihoodRequest((user("What is the capital of France?"),), (" Paris", " London", "Rome is")),
    LikelihoodRequest(PREFIX, (" 7", " 8", " seven", " a number greater than five")),
]
LABELS = LikelihoodRequest(
    (user("Is ice cold?\nA. yes\nB. no"), assistant("Answer:")), (" A", " B"), labels=True
)
FIRST = LikelihoodRequest((user("Is ice cold? Answer A or B."),), ("A", "B"), labels=True)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class Reference:
    """What lm-eval's own class says."""

    greedy: list[Completion]
    stopped: list[Completion]
    prefix: Completion
    weighed: list[Likelihoods]
    template: str | None


def title(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")


async def ask(model: RunningModel, prompts: Sequence[str], sampling: Sampling) -> list[Completion]:
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(model.complete(ChatRequest((user(prompt),), sampling)))
            for prompt in prompts
        ]
    return [task.result() for task in tasks]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reference() -> Reference:
    spec = ModelSpec("lm-eval", "hf", {"pretrained": NAME, "device": "cpu"}, batch_size=6)
    async with open_runtime(spec) as model:
        return Reference(
            await ask(model, PROMPTS, GREEDY),
            await ask(model, PROMPTS, STOPPED),
            await model.complete(ChatRequest(PREFIX, GREEDY)),
            [await model.likelihood(request) for request in WEIGHED],
            model.info.chat_template_sha256,
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model(reference: Reference) -> AsyncIterator[RunningModel]:
    args = {"pretrained": NAME, "max_model_len": WINDOW, "max_num_seqs": 8}
    args["kv_cache_memory_bytes"] = 400_000_000
    async with open_runtime(ModelSpec("vllm", "vllm", args)) as running:
        yield running


async def test_says_what_it_is(model: RunningModel, reference: Reference) -> None:
    info = model.info
    assert (info.context_window, info.dtype, info.batch_size, info.device) == (
        WINDOW, "float32", 8, "cpu",
    )  # fmt: skip
    assert info.parameters == 134515008
    assert info.capabilities == {
        "chat", "prefix", "token_logprobs", "top_logprobs", "label_likelihood", "echo", "n",
    }  # fmt: skip
    assert info.chat_template_sha256 == reference.template
    assert info.versions["vllm"]
    assert (info.ladder, model.dirty) == ((), ())


async def test_greedy_texts_and_counts_are_those_of_lm_eval(
    model: RunningModel, reference: Reference
) -> None:
    found = await ask(model, PROMPTS, GREEDY)
    assert [c.text for c in found] == [c.text for c in reference.greedy]
    assert [c.finish_reason for c in found] == [c.finish_reason for c in reference.greedy]
    assert [c.usage for c in found] == [c.usage for c in reference.greedy]


async def test_stop_strings_end_a_text_and_are_no_part_of_it(
    model: RunningModel, reference: Reference
) -> None:
    found = await ask(model, PROMPTS, STOPPED)
    assert [(c.text, c.finish_reason) for c in found] == [
        (c.text, c.finish_reason) for c in reference.stopped
    ]
    assert {c.finish_reason for c in found} == {"stop", "length"} or all(
        "." not in c.text for c in found
    )


async def test_a_text_that_is_cut_off_says_so(model: RunningModel) -> None:
    [found] = await ask(model, ["Tell me a long story."], Sampling(max_tokens=5))
    assert (found.finish_reason, found.usage.completion_tokens) == ("length", 5)


async def test_continues_a_prefix(model: RunningModel, reference: Reference) -> None:
    found = await model.complete(ChatRequest(PREFIX, GREEDY))
    assert (found.text, found.usage) == (reference.prefix.text, reference.prefix.usage)


async def test_a_seed_decides_what_is_drawn_whatever_else_is_in_flight(
    model: RunningModel,
) -> None:
    def drawn(seed: int) -> Sampling:
        return Sampling(max_tokens=16, temperature=1.0, top_p=0.9, seed=seed)

    story = "Tell me a story about a fox."
    [alone] = await ask(model, [story], drawn(1))
    beside = await ask(model, [story, *PROMPTS], drawn(1))
    [other] = await ask(model, [story], drawn(2))
    assert beside[0].text == alone.text != other.text


async def test_draws_with_seeds_behind_more_prompt_than_one_step_takes(
    model: RunningModel,
) -> None:
    prompts = [f"{number}: " + "a fox and a hen " * 80 for number in range(12)]
    drawn = await ask(model, prompts, Sampling(max_tokens=4, temperature=1.0, seed=1))
    assert sum(found.usage.prompt_tokens for found in drawn) > STEP
    assert all(found.usage.completion_tokens for found in drawn)


async def test_reports_the_probability_of_every_token(model: RunningModel) -> None:
    [found] = await ask(model, ["What is 3 + 4?"], Sampling(max_tokens=6, logprobs=2))
    assert "".join(token.token for token in found.logprobs) == found.text
    assert len(found.logprobs) == found.usage.completion_tokens == 6
    for token in found.logprobs:
        assert token.top[0] == (token.token, token.logprob)  # greedy: the likeliest comes first
        assert 0 >= token.top[0][1] >= token.top[1][1]


async def test_likelihoods_are_those_of_lm_eval(model: RunningModel, reference: Reference) -> None:
    for request, expected in zip(WEIGHED, reference.weighed, strict=True):
        found = await model.likelihood(request)
        assert [c.text for c in found.choices] == list(request.choices)
        assert [(c.tokens, c.greedy) for c in found.choices] == [
            (c.tokens, c.greedy) for c in expected.choices
        ]
        assert [c.logprob for c in found.choices] == pytest.approx(
            [c.logprob for c in expected.choices], abs=1e-3
        )


async def test_likelihoods_do_not_depend_on_what_was_computed_before(model: RunningModel) -> None:
    first, again = [await model.likelihood(WEIGHED[1]) for _ in range(2)]
    assert first.choices == again.choices


async def test_a_label_is_as_likely_as_the_text_of_its_one_token(model: RunningModel) -> None:
    labels = await model.likelihood(LABELS)
    texts = await model.likelihood(LikelihoodRequest(LABELS.messages, LABELS.choices))
    assert [c.tokens for c in labels.choices] == [1, 1]
    assert labels.choices == texts.choices


async def test_a_label_may_be_the_first_word_of_all(model: RunningModel) -> None:
    labels = await model.likelihood(FIRST)
    said = await model.complete(ChatRequest(FIRST.messages, Sampling(max_tokens=1, logprobs=20)))
    told = dict(said.logprobs[0].top)
    assert [c.tokens for c in labels.choices] == [1, 1]
    for choice in labels.choices:
        if choice.text in told:
            assert choice.logprob == pytest.approx(told[choice.text], abs=1e-3)
    assert set(told) & {"A", "B"}


async def test_refuses_a_label_of_several_tokens(model: RunningModel) -> None:
    with pytest.raises(CallRefused, match="'no, not at all' is not one token"):
        await model.likelihood(LikelihoodRequest(LABELS.messages, ("no, not at all",), labels=True))


class TestRefuses:
    @pytest.mark.parametrize(
        ("messages", "max_tokens"),
        [((user("hello " * 600),), 8), ((user("What is 3 + 4?"),), WINDOW - 10)],
        ids=["a prompt too long", "a prompt and its answer too long together"],
    )
    async def test_refuses_what_does_not_fit(
        self, model: RunningModel, messages: tuple[Message, ...], max_tokens: int
    ) -> None:
        with pytest.raises(ContextTooLong, match=str(WINDOW)):
            await model.complete(ChatRequest(messages, Sampling(max_tokens=max_tokens)))

    async def test_refuses_a_choice_that_does_not_fit(self, model: RunningModel) -> None:
        with pytest.raises(ContextTooLong, match=f"context window of {WINDOW}"):
            await model.likelihood(LikelihoodRequest((user("q"),), ("word " * 600,)))


async def test_the_canary_sings(model: RunningModel) -> None:
    assert await canary(model, seconds=30) < 30


async def test_a_death_in_mid_batch_fails_every_call_at_once(model: RunningModel) -> None:
    async def call(prompt: str) -> str:
        try:
            await model.complete(ChatRequest((user(prompt),), Sampling(max_tokens=400)))
        except RuntimeUnavailable as error:
            return error.id
        return "answered"

    calls = [asyncio.create_task(call(prompt)) for prompt in PROMPTS]
    await asyncio.sleep(2.0)
    pids = await asyncio.to_thread(started_by, os.getpid())
    [worker] = [pid for pid in pids if "VLLM::Worker" in title(pid)]
    os.kill(worker, signal.SIGKILL)
    async with asyncio.timeout(60):
        await asyncio.wait(calls)
        assert await model.wait_dead() != 0
    assert {call.result() for call in calls} <= {"runtime-unavailable", "answered"}
    assert "runtime-unavailable" in {call.result() for call in calls}
    assert not model.alive()
