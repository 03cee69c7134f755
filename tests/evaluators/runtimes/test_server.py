"""The server's protocol, spoken by hand: fields, refusals, limits, batching."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from evaluators.model import Sampling
from evaluators.runtimes.echo import Echo, EchoOptions
from evaluators.runtimes.server.app import make_app
from evaluators.runtimes.server.batcher import Answered, Batcher, Work
from evaluators.runtimes.server.protocol import Call, Facts, Refused, Reply

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

    async def test_models_and_health(self, http: TestClient[Any, Any]) -> None:
        async with http.get("/v1/models") as response:
            (entry,) = (await response.json())["data"]
        async with http.get("/health") as response:
            health = await response.json()
        assert (entry["id"], entry["max_model_len"]) == ("echo", 100)
        assert (health["status"], health["capabilities"]) == ("ok", ["chat", "prefix"])

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
            ({"logprobs": True}, "logprobs=True is not supported"),
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

    async def test_refuses_an_unknown_route_as_json(self, http: TestClient[Any, Any]) -> None:
        assert (await post(http, "/v1/embeddings", {}))[0] == 404


class Counter:
    """A backend of three steps per row that records how it was used."""

    def __init__(self, *, joins: bool = True, batch_size: int = 4) -> None:
        self.joins = joins
        self.facts = Facts("counter", 1000, frozenset({"chat"}), batch_size)
        self.left: dict[int, int] = {}
        self.most = 0
        self.batches: list[list[str]] = []
        self.dropped: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()

    @property
    def rows(self) -> int:
        return len(self.left)

    def prepare(self, call: Call) -> Work:
        if call.prompt == "refuse":
            raise Refused("no")
        return Work(call.prompt, len(call.prompt or ""), call.sampling)

    def step(self, joining: Sequence[tuple[int, Work]]) -> Sequence[Answered]:
        self.gate.wait(10)
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
        batcher = Batcher(backend)
        async with asyncio.TaskGroup() as group:
            for prompt in ("aaaaaaaa", "b", "cccccccc", "d"):
                group.create_task(batcher.answer(call(prompt)))
        assert [sorted(batch) for batch in backend.batches] == [
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
