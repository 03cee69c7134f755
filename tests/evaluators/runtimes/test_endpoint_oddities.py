"""Answers that only a strange server gives, and what becomes of them."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from evaluators.errors import BadModel, CallRefused, ContextTooLong, RuntimeUnavailable
from evaluators.model import ChatRequest, LikelihoodRequest, Sampling, user
from evaluators.runtimes import EgressPolicy, ModelSpec, RunningModel, canary, open_runtime
from evaluators.runtimes.endpoint.guard import AddressDenied
from evaluators.runtimes.endpoint.options import read_options
from evaluators.runtimes.endpoint.transport import EndpointTransport
from evaluators.testing.stub_server import StubOptions, StubServer, serve

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
GOOD = {
    "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1},
}
QUICK = {"timeout": 2, "backoff": 0.01, "max_retries": 1, "idle_timeout": 0.2}


def spec_of(url: str, **args: Any) -> ModelSpec:
    return ModelSpec("endpoint", "endpoint", {"base_url": url, "model": "stub", **QUICK, **args})


@asynccontextmanager
async def server(answer: Handler, listing: Any = None) -> AsyncIterator[str]:
    """Serve one answer to every chat, and a list of models."""

    async def models(request: web.Request) -> web.Response:
        return web.json_response(listing)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    app.router.add_get("/v1/models", models)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


async def asked(answer: Handler, **args: Any) -> Any:
    """Ask once, without any probe."""
    async with server(answer) as url:
        options = read_options(spec_of(url, **args))
        transport = EndpointTransport(
            options, secret=None, policy=EgressPolicy.trusting(), concurrency=1
        )
        try:
            return await transport.call("/chat/completions", {}, read=lambda found: found)
        finally:
            await transport.close()


@asynccontextmanager
async def model_on(
    answer: Handler, listing: Any = None, **args: Any
) -> AsyncIterator[RunningModel]:
    async with (
        server(answer, listing) as url,
        open_runtime(spec_of(url, **args), policy=EgressPolicy.trusting()) as model,
    ):
        yield model


@asynccontextmanager
async def stubbed(
    options: StubOptions | None = None, **args: Any
) -> AsyncIterator[tuple[RunningModel, StubServer]]:
    async with (
        serve(options) as stub,
        open_runtime(spec_of(stub.url, **args), policy=EgressPolicy.trusting()) as model,
    ):
        yield model, stub


async def good(request: web.Request) -> web.Response:
    return web.json_response(GOOD)


class TestAnswers:
    async def test_a_type_with_a_suffix_is_json(self):
        async def answer(request: web.Request) -> web.Response:
            kind = "application/vnd.model+json; charset=utf-8"
            return web.Response(body=json.dumps(GOOD).encode(), headers={"Content-Type": kind})

        assert await asked(answer) == GOOD

    async def test_blanks_that_keep_a_connection_alive_are_no_harm(self):
        async def answer(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            for _ in range(4):
                await response.write(b"\n")
                await asyncio.sleep(0.1)
            await response.write(json.dumps(GOOD).encode())
            return response

        assert await asked(answer) == GOOD

    @pytest.mark.parametrize("chunked", [True, False])
    async def test_refuses_silence_within_an_answer(self, chunked):
        async def answer(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            if not chunked:
                response.content_length = 100
            await response.prepare(request)
            await response.write(b'{"choices"')
            await asyncio.sleep(3600)
            return response

        with pytest.raises(RuntimeUnavailable, match=r"0\.2 s of silence within the answer"):
            await asked(answer)

    async def test_refuses_a_packed_answer(self):
        async def answer(request: web.Request) -> web.Response:
            assert request.headers["Accept-Encoding"] == "identity"
            packed = gzip.compress(b" " * (100 << 20) + b"{}", compresslevel=1)
            headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
            return web.Response(body=packed, headers=headers)

        with pytest.raises(RuntimeUnavailable, match="the answer is packed"):
            await asked(answer, max_retries=0)

    async def test_refuses_many_headers(self):
        async def answer(request: web.Request) -> web.Response:
            return web.json_response(GOOD, headers={f"X-{n}": "x" * 7000 for n in range(20)})

        with pytest.raises(RuntimeUnavailable, match="headers have more than 65536 bytes"):
            await asked(answer)

    async def test_refuses_an_answer_that_says_it_is_huge(self):
        async def answer(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            response.content_length = 1 << 40
            await response.prepare(request)
            return response

        with pytest.raises(RuntimeUnavailable, match="more than 8388608 bytes"):
            await asked(answer)

    @pytest.mark.parametrize("status", [204, 206, 226])
    async def test_refuses_a_status_that_is_no_answer(self, status):
        async def answer(request: web.Request) -> web.Response:
            return web.Response(status=status)

        with pytest.raises(RuntimeUnavailable, match=f"HTTP {status} is no answer"):
            await asked(answer)

    @pytest.mark.parametrize("status", [400, 405, 413, 415, 418, 422])
    async def test_a_refusal_is_not_tried_again(self, status):
        calls = []

        async def answer(request: web.Request) -> web.Response:
            calls.append(request)
            return web.json_response({"error": {"message": "no"}}, status=status)

        with pytest.raises(CallRefused) as caught:
            await asked(answer)
        assert caught.value.data == {"status": status, "reason": f"HTTP {status}: no"}
        assert len(calls) == 1

    @pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
    async def test_what_may_pass_is_tried_again(self, status):
        calls = []

        async def answer(request: web.Request) -> web.Response:
            calls.append(request)
            return web.Response(status=status) if len(calls) < 3 else web.json_response(GOOD)

        assert await asked(answer, max_retries=2) == GOOD
        assert len(calls) == 3

    @pytest.mark.parametrize("value", ["soon", "nan", "-5", "Thu, 99 Foo", "inf", ""])
    async def test_a_retry_after_that_makes_no_sense_is_none(self, value):
        calls = []

        async def answer(request: web.Request) -> web.Response:
            calls.append(request)
            if len(calls) > 1:
                return web.json_response(GOOD)
            return web.Response(status=429, headers={"Retry-After": value})

        assert await asked(answer) == GOOD

    async def test_a_prompt_that_is_too_long_is_told_apart(self):
        async def answer(request: web.Request) -> web.Response:
            words = "This model's maximum context length is 8192 tokens."
            return web.json_response({"error": {"message": words}}, status=400)

        with pytest.raises(ContextTooLong):
            await asked(answer)


class TestProbe:
    LISTED = {"data": [{"id": "other", "max_model_len": 1}, {"id": "stub", "max_model_len": 4096}]}

    async def test_the_list_of_models_may_tell_the_window(self):
        async with model_on(good, self.LISTED) as model:
            assert model.context_window == 4096

    async def test_the_user_knows_better(self):
        async with model_on(good, self.LISTED, context_window=512) as model:
            assert model.context_window == 512

    @pytest.mark.parametrize("listing", [None, [], {}, {"data": 3}, {"data": [None, {}]}], ids=str)
    async def test_a_list_that_is_none_does_not_matter(self, listing):
        async with model_on(good, listing) as model:
            assert model.context_window == 2**31 - 1

    async def test_refuses_an_endpoint_that_says_well_and_generates_nothing(self):
        async def answer(request: web.Request) -> web.Response:
            choice = {"message": {"content": ""}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 1, "completion_tokens": 0}
            return web.json_response({"choices": [choice], "usage": usage})

        with pytest.raises(RuntimeUnavailable, match="but no tokens come out of it"):
            async with model_on(answer):
                pass

    async def test_a_model_that_thinks_first_is_alive(self):
        async def answer(request: web.Request) -> web.Response:
            choice = {"message": {"content": None}, "finish_reason": "length"}
            return web.json_response({**GOOD, "choices": [choice]})

        async with model_on(answer) as model:
            with pytest.raises(CallRefused, match="used up before the answer began"):
                await model.complete(ChatRequest((user("hello"),), Sampling()))
            assert await canary(model) < 2

    async def test_refuses_to_wait_for_a_start_without_end(self):
        async with serve(StubOptions(silent_after=0)) as stub:
            opening = open_runtime(
                spec_of(stub.url), policy=EgressPolicy.trusting(), start_timeout=0.3
            )
            with pytest.raises(RuntimeUnavailable, match=r"not ready after 0\.3 s"):
                async with opening:
                    pass

    async def test_refuses_top_p_at_the_call_that_needs_it(self):
        request = ChatRequest((user("hello"),), Sampling(temperature=0.5, top_p=0.9))
        async with stubbed(StubOptions(refuses=frozenset({"top_p"}))) as (model, _):
            with pytest.raises(CallRefused, match="the endpoint refuses top_p: HTTP 400"):
                await model.complete(request)

    async def test_log_probabilities_that_stay_away_are_a_fault(self):
        labels = LikelihoodRequest((user("<<A|B>>"),), ("A", "B"), labels=True)
        async with stubbed() as (model, stub):
            stub.options = StubOptions(ignores=frozenset({"logprobs"}))
            with pytest.raises(RuntimeUnavailable, match="has no log-probabilities"):
                await model.complete(ChatRequest((user("hello"),), Sampling(logprobs=1)))
            with pytest.raises(RuntimeUnavailable, match="the answer lacks"):
                await model.likelihood(labels)

    async def test_labels_need_alternatives(self):
        labels = LikelihoodRequest((user("<<A|B>>"),), ("A", "B"), labels=True)
        async with stubbed(StubOptions(can=StubOptions().can - {"logprobs"})) as (model, _):
            with pytest.raises(CallRefused, match="lacks likelihoods of labels"):
                await model.likelihood(labels)

    async def test_one_echo_that_fails_fails_the_question(self):
        texts = LikelihoodRequest((user("One two"),), (" three", " four"))
        async with stubbed(api="completions") as (model, stub):
            stub.options = StubOptions(refuses=frozenset({"echo"}))
            with pytest.raises(CallRefused, match="'echo' is not supported"):
                await model.likelihood(texts)


async def test_a_literal_address_meets_a_gate_of_its_own():
    """Literal addresses are not looked up, so the socket itself has to refuse them."""
    policy = EgressPolicy.guarded()
    connector = policy.connector(URL("https://127.0.0.1/"))
    async with serve() as stub, aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(aiohttp.ClientConnectorError) as caught:
            await session.get(stub.url)
        assert stub.headers == []
    assert isinstance(caught.value.os_error, AddressDenied)
    assert str(caught.value.os_error) == "127.0.0.1 is not a public address (loopback)"


async def test_refuses_a_server_that_cannot_be_spoken_to():
    spec = ModelSpec("endpoint", "endpoint", {"base_url": "https://10.0.0.1/v1", "model": "m"})
    with pytest.raises(BadModel, match=r"10\.0\.0\.1 is not a public address \(private\)"):
        async with open_runtime(spec):
            pass
