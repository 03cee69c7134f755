"""The server's protocol, spoken by hand: fields, refusals, limits, batching."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from evaluators.model import Sampling
from evaluators.runtimes.echo import Echo, EchoOptions
from evaluators.runtimes.server.app import make_app
from evaluators.runtimes.server.batcher import Answered, Batcher, Weighing, Work
from evaluators.runtimes.server.protocol import (
    Call,
    Facts,
    LikelihoodCall,
    Refused,
    Reply,
    Weighed,
)

CHAT = {"messages": [{"role": "user", "content": "hello there"}]}


@pytest.fixture
async def http() -> AsyncIterator[TestClient[Any, Any]]:
    echo = Echo(EchoOptions(context_window=100), label="echo", batch_size=4)
    async with TestClient(TestServer(make_app(echo), host="127.0.0.1")) as client:
        yield client


async def post(http: TestClient[Any, Any], path: str, body: object) -> tuple[int, Any]:
    async with http.post(path, json=body) as response:
        return response.status, await response.json()


class TestRoutes:
    async def test_chat(self, http: TestClient[Any, Any]) -> None:
        status, answer = await post(
            http, "/v1/chat/completions", {**CHAT, "max_tokens": 9, "n": 1, "user": "me"}
        )
        assert status == 200
        assert answer["object"] == "chat.completion"
        assert answer["choices"] == [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "hello there"},
            }
        ]
        assert answer["usage"] == {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}

    async def test_completion(self, http: TestClient[Any, Any]) -> None:
        status, answer = await post(
            http, "/v1/completions", {"prompt": "go on", "max_tokens": 1, "stop": None}
        )
        assert (status, answer["choices"][0]["text"]) == (200, "go")
        assert answer["choices"][0]["finish_reason"] == "length"

    async def test_logprobs_of_a_chat(self, http: TestClient[Any, Any]) -> None:
        body = {**CHAT, "max_tokens": 9, "logprobs": True, "top_logprobs": 2}
        _, answer = await post(http, "/v1/chat/completions", body)
        hello, there = answer["choices"][0]["logprobs"]["content"]
        assert (hello["token"], hello["bytes"]) == ("hello", list(b"hello"))
        assert hello["logprob"] == pytest.approx(-0.2231435513)
        assert [entry["token"] for entry in hello["top_logprobs"]] == ["hello", "hello1"]
        assert there["bytes"] == list(b"there")

    async def test_logprobs_of_a_completion(self, http: TestClient[Any, Any]) -> None:
        body = {"prompt": "go on", "max_tokens": 9, "logprobs": 0}
        _, answer = await post(http, "/v1/completions", body)
        found = answer["choices"][0]["logprobs"]
        assert found["tokens"] == ["go", "on"]
        assert found["token_logprobs"] == [pytest.approx(-0.2231435513)] * 2
        assert found["top_logprobs"] == [{}, {}]

    async def test_no_logprobs_unless_asked_for(self, http: TestClient[Any, Any]) -> None:
        _, answer = await post(http, "/v1/chat/completions", {**CHAT, "max_tokens": 5})
        assert "logprobs" not in answer["choices"][0]

    @pytest.mark.parametrize("asked", [CHAT, {"prompt": "hello there"}])
    async def test_likelihood(self, http: TestClient[Any, Any], asked: dict[str, Any]) -> None:
        choices = ["hello there", "hello here", " hello"]
        status, answer = await post(http, "/v1/likelihood", {**asked, "choices": choices})
        assert status == 200
        whole, half, part = answer["choices"]
        assert [c["text"] for c in answer["choices"]] == choices
        assert [c["tokens"] for c in answer["choices"]] == [2, 2, 1]
        assert [c["greedy"] for c in answer["choices"]] == [True, False, True]
        assert part["logprob"] == pytest.approx(-0.2231435513)
        assert whole["logprob"] == pytest.approx(2 * part["logprob"])
        assert half["logprob"] < whole["logprob"]
        assert answer["usage"] == {"prompt_tokens": 11, "completion_tokens": 0, "total_tokens": 11}

    async def test_likelihood_of_labels(self, http: TestClient[Any, Any]) -> None:
        body = {
            "messages": [
                {"role": "user", "content": "<<B|C>>"}, {"role": "assistant", "content": "So"},
            ],
            "choices": ["A", "B", "C"], "labels": True,
        }  # fmt: skip
        _, answer = await post(http, "/v1/likelihood", body)
        assert [choice["greedy"] for choice in answer["choices"]] == [False, True, False]
        assert answer["usage"]["prompt_tokens"] == 2

    async def test_models_and_health(self, http: TestClient[Any, Any]) -> None:
        async with http.get("/v1/models") as response:
            (entry,) = (await response.json())["data"]
        async with http.get("/health") as response:
            health = await response.json()
        assert (entry["id"], entry["max_model_len"]) == ("echo", 100)
        assert (health["status"], health["server"]) == ("ok", "redraft")
        assert health["capabilities"] == [
            "chat", "echo", "label_likelihood", "prefix", "token_logprobs", "top_logprobs",
        ]  # fmt: skip

    async def test_text_parts_and_vllm_fields(self, http: TestClient[Any, Any]) -> None:
        parts = [{"type": "text", "text": "a "}, {"type": "text", "text": "b"}]
        body = {
            "messages": [
                {"role": "user", "content": parts}, {"role": "assistant", "content": "so"},
            ],
            "add_generation_prompt": False, "continue_final_message": True, "max_tokens": 5,
        }  # fmt: skip
        status, answer = await post(http, "/v1/chat/completions", body)
        assert (status, answer["choices"][0]["message"]["content"]) == (200, "a b")


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"n": 2}, "n=2 is not supported"),
            ({"stream": True}, "stream=True is not supported"),
            ({"logprobs": 1}, "logprobs must be true or false"),
            ({"logprobs": True, "top_logprobs": 21}, "top_logprobs must be a whole number from 0"),
            ({"logprobs": True, "top_logprobs": -1}, "top_logprobs must be a whole number from 0"),
            ({"logprobs": True, "top_logprobs": True}, "top_logprobs must be a whole number"),
            ({"top_logprobs": 2}, "top_logprobs needs logprobs=true"),
            ({"tools": []}, "'tools' is not supported"),
            ({"logit_bias": {}}, "'logit_bias' is not supported"),
            ({"frequency_penalty": 0.5}, "frequency_penalty=0.5"),
            ({"max_tokens": 0}, "max_tokens"),
            ({"max_tokens": True}, "max_tokens"),
            ({"max_tokens": "9"}, "max_tokens"),
            ({"temperature": -1}, "temperature=-1 is out of range"),
            ({"temperature": "hot"}, "temperature must be a number"),
            ({"top_p": 0}, "top_p=0 is out of range"),
            ({"top_p": 1.5}, "top_p=1.5 is out of range"),
            ({"seed": 1.5}, "seed"),
            ({"stop": [1]}, "stop"),
            ({"stop": 3}, "stop"),
            ({"messages": []}, "at least one message"),
            ({"messages": "hi"}, "must be a list"),
            ({"messages": ["hi"]}, "role and content"),
            ({"messages": [{"role": "tool", "content": "x"}]}, "'tool' is not supported"),
            ({"messages": [{"role": "user", "content": 5}]}, "must be text"),
            ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "must be text"),
            ({"messages": [{"role": "user", "content": "x", "tool_calls": []}]}, "tool_calls"),
            ({"add_generation_prompt": False}, "add_generation_prompt must be true"),
            ({"max_tokens": 99}, "more than the context window of 100"),
        ],
    )
    async def test_refuses_fields(
        self, http: TestClient[Any, Any], change: dict[str, Any], reason: str
    ) -> None:
        assert (await post(http, "/v1/chat/completions", {**CHAT, "max_tokens": 5}))[0] == 200
        status, answer = await post(
            http, "/v1/chat/completions", {**CHAT, "max_tokens": 5, **change}
        )
        assert status == 400
        assert reason in answer["error"]["message"]

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff\xfe"])
    async def test_refuses_bodies_that_are_no_objects(
        self, http: TestClient[Any, Any], body: bytes
    ) -> None:
        async with http.post("/v1/chat/completions", data=body) as response:
            assert response.status == 400
            assert (await response.json())["error"]["message"].startswith("the body")

    @pytest.mark.parametrize("prompt", [["a", "b"], [1, 2], 7, None])
    async def test_refuses_prompts_that_are_not_one_string(
        self, http: TestClient[Any, Any], prompt: object
    ) -> None:
        status, answer = await post(http, "/v1/completions", {"prompt": prompt})
        assert (status, answer["error"]["message"]) == (400, "prompt must be one string")

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"choices": []}, "from 1 to 1000 choices, not 0"),
            ({"choices": ["x"] * 1001}, "from 1 to 1000 choices, not 1001"),
            ({"choices": "ab"}, "choices must be a list of texts, none of them empty"),
            ({"choices": ["a", ""]}, "choices must be a list of texts, none of them empty"),
            ({"choices": ["a", 1]}, "choices must be a list of texts"),
            ({"choices": None}, "choices must be a list of texts"),
            ({"labels": 1}, "labels must be true or false"),
            ({"prompt": "x"}, "give either messages or a prompt"),
            ({"messages": None}, "give either messages or a prompt"),
            ({"messages": []}, "at least one message"),
            ({"messages": None, "prompt": 7}, "prompt must be one string"),
            ({"max_tokens": 5}, "'max_tokens' is not supported"),
            ({"labels": True, "choices": ["a", "b c"]}, "the label 'b c' is 2 tokens, not one"),
            ({"choices": ["a", "x " * 99]}, "together 101, more than the 100 that fit"),
        ],
    )
    async def test_refuses_likelihoods(
        self, http: TestClient[Any, Any], change: dict[str, Any], reason: str
    ) -> None:
        good = {**CHAT, "choices": ["a", "b"]}
        assert (await post(http, "/v1/likelihood", good))[0] == 200
        status, answer = await post(http, "/v1/likelihood", {**good, **change})
        assert status == 400
        assert reason in answer["error"]["message"]

    async def test_refuses_what_the_model_cannot_tell(self) -> None:
        options = EchoOptions(capabilities="chat+prefix+token_logprobs")
        echo = Echo(options, label="echo", batch_size=4)
        asked = {**CHAT, "choices": ["a"]}
        logprobs = {**CHAT, "logprobs": True}
        async with TestClient(TestServer(make_app(echo), host="127.0.0.1")) as http:
            summed = await post(http, "/v1/likelihood", asked)
            label = await post(http, "/v1/likelihood", {**asked, "labels": True})
            top = await post(http, "/v1/chat/completions", {**logprobs, "top_logprobs": 1})
            own = await post(http, "/v1/chat/completions", logprobs)
        assert [status for status, _ in (summed, label, top, own)] == [400, 400, 400, 200]
        assert "the model has no echo: " in summed[1]["error"]["message"]
        assert "the model has no label_likelihood: " in label[1]["error"]["message"]
        assert "the model has no top_logprobs: " in top[1]["error"]["message"]

    async def test_refuses_an_unknown_route_as_json(self, http: TestClient[Any, Any]) -> None:
        assert (await post(http, "/v1/embeddings", {}))[0] == 404


class Counter:
    """A backend of three steps per row that records how it was used."""

    def __init__(self, *, joins: bool = True, batch_size: int = 4) -> None:
        self.joins = joins
        self.facts = Facts("counter", 1000, frozenset({"chat", "echo"}), batch_size)
        self.left: dict[int, int] = {}
        self.most = 0
        self.batches: list[list[str]] = []
        self.dropped: set[int] = set()
        self.weighed: list[list[str]] = []
        self.trace: list[str] = []
        self.busy = threading.Lock()
        self.gate = threading.Event()
        self.gate.set()

    @property
    def rows(self) -> int:
        return len(self.left)

    def prepare(self, call: Call) -> Work:
        if call.prompt == "refuse":
            raise Refused("no")
        return Work(call.prompt, len(call.prompt or ""), call.sampling)

    def prepare_weighing(self, call: LikelihoodCall) -> Weighing:
        if call.prompt == "refuse":
            raise Refused("no")
        return Weighing(call.prompt, len(call.choices))

    def weigh(self, waiting: Sequence[Weighing]) -> Sequence[Weighed | Exception]:
        assert self.busy.acquire(blocking=False)
        self.gate.wait(10)
        self.trace.append("weigh")
        self.weighed.append([str(weighing.prompt) for weighing in waiting])
        time.sleep(0.004)
        self.busy.release()
        if any(weighing.prompt == "crash" for weighing in waiting):
            raise RuntimeError("no scales")
        return [
            ValueError("one alone") if weighing.prompt == "odd" else Weighed((), weighing.sequences)
            for weighing in waiting
        ]

    def step(self, joining: Sequence[tuple[int, Work]]) -> Sequence[Answered]:
        assert self.busy.acquire(blocking=False)
        try:
            return self._step(joining)
        finally:
            self.busy.release()

    def _step(self, joining: Sequence[tuple[int, Work]]) -> Sequence[Answered]:
        self.gate.wait(10)
        self.trace.append("step")
        if joining:
            self.batches.append([str(work.prompt) for _, work in joining])
        if any(work.prompt == "crash" for _, work in joining):
            raise RuntimeError("out of order")
        self.left |= {ticket: 3 for ticket, _ in joining}
        self.most = max(self.most, len(self.left))
        self.left = {ticket: steps - 1 for ticket, steps in self.left.items()}
        done = [ticket for ticket, steps in self.left.items() if not steps]
        for ticket in done:
            del self.left[ticket]
        return [(ticket, Reply("done", "stop", 1, 1)) for ticket in done]

    def drop(self, tickets: AbstractSet[int]) -> None:
        self.dropped |= tickets
        self.left = {ticket: steps for ticket, steps in self.left.items() if ticket not in tickets}

    def clear(self) -> None:
        self.left = {}


def call(prompt: str) -> Call:
    return Call(Sampling(max_tokens=1), prompt=prompt)


def choose(prompt: str, choices: int = 2) -> LikelihoodCall:
    return LikelihoodCall(tuple("abcdefgh"[:choices]), prompt=prompt)


class TestBatcher:
    @pytest.mark.parametrize("joins", [True, False])
    async def test_answers_all_and_never_exceeds_the_batch(self, *, joins: bool) -> None:
        backend = Counter(joins=joins)
        batcher = Batcher(backend)
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(batcher.answer(call("x" * (i % 5 + 1)))) for i in range(23)]
        assert {done.result().text for done in calls} == {"done"}
        assert backend.most == 4
        assert sum(map(len, backend.batches)) == 23

    async def test_an_idle_model_waits_for_requests_that_have_arrived(self) -> None:
        backend = Counter()
        batcher = Batcher(backend)
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(batcher.answer(call("x")))
        assert [len(batch) for batch in backend.batches] == [4]

    async def test_prefers_like_lengths_behind_the_eldest(self) -> None:
        backend = Counter(joins=False, batch_size=2)
        backend.gate.clear()
        batcher = Batcher(backend)
        async with asyncio.TaskGroup() as group:
            group.create_task(batcher.answer(call("first")))
            await asyncio.sleep(0.2)
            for prompt in ("aaaaaaaa", "b", "cccccccc", "d"):
                group.create_task(batcher.answer(call(prompt)))
            await asyncio.sleep(0.2)
            backend.gate.set()
        assert [sorted(batch) for batch in backend.batches] == [
            ["first"],
            ["aaaaaaaa", "cccccccc"],
            ["b", "d"],
        ]

    async def test_a_fault_fails_those_aboard_and_nobody_later(self) -> None:
        backend = Counter()
        batcher = Batcher(backend)
        with pytest.raises(RuntimeError, match="out of order"):
            await batcher.answer(call("crash"))
        assert (await batcher.answer(call("x"))).text == "done"

    async def test_refuses_without_taking_a_row(self) -> None:
        backend = Counter()
        batcher = Batcher(backend)
        with pytest.raises(Refused):
            await batcher.answer(call("refuse"))
        assert (await batcher.answer(call("x"))).text == "done"
        assert backend.batches == [["x"]]

    async def test_cancelling_drops_the_row(self) -> None:
        backend = Counter(batch_size=1)
        backend.gate.clear()
        batcher = Batcher(backend)
        running = asyncio.create_task(batcher.answer(call("running")))
        waiting = asyncio.create_task(batcher.answer(call("waiting")))
        await asyncio.sleep(0.2)
        running.cancel()
        waiting.cancel()
        await asyncio.sleep(0)
        backend.gate.set()
        assert (await batcher.answer(call("next"))).text == "done"
        assert backend.batches == [["running"], ["next"]]
        assert 0 in backend.dropped


class TestWeighing:
    async def test_calls_that_wait_together_are_weighed_together(self) -> None:
        backend = Counter()
        batcher = Batcher(backend)
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(batcher.weigh(choose("x", n))) for n in (1, 2, 3)]
        assert [call.result().prompt_tokens for call in calls] == [1, 2, 3]
        assert backend.weighed == [["x", "x", "x"]]

    async def test_a_batch_is_bounded_and_the_eldest_come_first(self) -> None:
        backend = Counter(batch_size=2)
        backend.gate.clear()
        batcher = Batcher(backend)
        first = asyncio.create_task(batcher.weigh(choose("first")))
        await asyncio.sleep(0.15)
        async with asyncio.TaskGroup() as group:
            for name in "abcde":
                group.create_task(batcher.weigh(choose(name, 3)))
            await asyncio.sleep(0.05)
            backend.gate.set()
        await first
        assert backend.weighed == [["first"], ["a", "b"], ["c", "d"], ["e"]]

    async def test_a_call_larger_than_a_batch_is_weighed_alone(self) -> None:
        backend = Counter(batch_size=1)
        weighed = await Batcher(backend).weigh(choose("x", 8))
        assert weighed.prompt_tokens == 8

    async def test_generating_and_weighing_share_the_model_and_neither_starves(self) -> None:
        backend = Counter(batch_size=2)
        batcher = Batcher(backend)

        async def generate() -> None:
            for _ in range(60):
                await batcher.answer(call("x"))

        async def weigh() -> None:
            for _ in range(60):
                await batcher.weigh(choose("x", 8))

        async with asyncio.TaskGroup() as group:
            for work in (generate, generate, weigh, weigh):
                group.create_task(work())
        half = backend.trace[: len(backend.trace) // 2]
        assert half.count("weigh") >= 10
        assert half.count("step") >= 10

    async def test_one_bad_call_costs_nobody_else(self) -> None:
        batcher = Batcher(Counter())
        async with asyncio.TaskGroup() as group:
            odd = group.create_task(_error(batcher.weigh(choose("odd"))))
            good = group.create_task(batcher.weigh(choose("x")))
        assert str(odd.result()) == "one alone"
        assert good.result().prompt_tokens == 2

    async def test_a_fault_in_weighing_spares_the_rows_being_generated(self) -> None:
        backend = Counter()
        batcher = Batcher(backend)
        async with asyncio.TaskGroup() as group:
            rows = [group.create_task(batcher.answer(call("x"))) for _ in range(3)]
            fault = group.create_task(_error(batcher.weigh(choose("crash"))))
        assert str(fault.result()) == "no scales"
        assert [row.result().text for row in rows] == ["done"] * 3

    async def test_a_fault_in_generating_spares_the_calls_that_wait(self) -> None:
        backend = Counter()
        backend.gate.clear()
        batcher = Batcher(backend)
        crash = asyncio.create_task(_error(batcher.answer(call("crash"))))
        await asyncio.sleep(0.15)
        weighed = asyncio.create_task(batcher.weigh(choose("x")))
        await asyncio.sleep(0.05)
        backend.gate.set()
        assert str(await crash) == "out of order"
        assert (await weighed).prompt_tokens == 2

    async def test_cancelling_takes_the_call_out_of_the_queue(self) -> None:
        backend = Counter()
        backend.gate.clear()
        batcher = Batcher(backend)
        running = asyncio.create_task(batcher.weigh(choose("running")))
        await asyncio.sleep(0.15)
        waiting = asyncio.create_task(batcher.weigh(choose("waiting")))
        await asyncio.sleep(0.05)
        running.cancel()
        waiting.cancel()
        await asyncio.sleep(0)
        backend.gate.set()
        assert (await batcher.weigh(choose("next"))).prompt_tokens == 2
        assert backend.weighed == [["running"], ["next"]]

    async def test_refuses_without_waiting(self) -> None:
        batcher = Batcher(Counter())
        with pytest.raises(Refused, match="no"):
            await batcher.weigh(choose("refuse"))
        with pytest.raises(Refused, match="the model has no label_likelihood"):
            await batcher.weigh(LikelihoodCall(("a",), labels=True, prompt="x"))
        with pytest.raises(Refused, match="the model has no token_logprobs"):
            await batcher.answer(Call(Sampling(logprobs=0), prompt="x"))


async def _error(awaited: Awaitable[object]) -> Exception:
    try:
        await awaited
    except Exception as error:  # noqa: BLE001 - the test looks at whatever it is
        return error
    raise AssertionError("nothing was raised")
