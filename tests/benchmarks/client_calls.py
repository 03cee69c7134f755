"""What a call costs in our client, beside a bare aiohttp session and httpx.

    python tests/benchmarks/client_calls.py [--calls 4000] [--in-flight 64]

The same chats, 64 in flight, to a server that answers at once. Ours is the whole way that a call to
an endpoint takes: body, bounds, deadline, reading and checking the answer. The others post the same
bodies and decode the JSON. Texts are compared call by call. The figures are ratios of processor
time, what a call costs beside the model: why the client is aiohttp, and what our care adds.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import aiohttp
import harness
from harness import Goal, Run, alternate, ratios

from evaluators.model import ChatRequest, Sampling, user
from evaluators.runtimes import wire
from evaluators.runtimes.dialects.openai import Abilities, OpenAiDialect
from evaluators.runtimes.endpoint.guard import EgressPolicy
from evaluators.runtimes.endpoint.options import EndpointOptions
from evaluators.runtimes.endpoint.transport import EndpointTransport

MODEL = "instant"
COST = "processor time per call, ms"
Ask = Callable[[ChatRequest], Awaitable[str]]


def chats(calls: int) -> list[ChatRequest]:
    """Return requests as a task with a few examples before its question makes them."""
    shots = "Solve the problem. Think step by step, then say what the answer is. " * 8
    return [
        ChatRequest((user(f"{shots}\nQuestion {number}"),), Sampling(max_tokens=64))
        for number in range(calls)
    ]


def body_of(request: ChatRequest) -> dict[str, object]:
    """Return the body that every side sends."""
    body = wire.completion_body(request, chat=True)
    del body["top_p"]
    return {"model": MODEL, **body}


@asynccontextmanager
async def ours(url: str, in_flight: int) -> AsyncIterator[Ask]:
    """Ask as the runtime `endpoint` does."""
    options = EndpointOptions(base_url=url, model=MODEL)
    transport = EndpointTransport(
        options, secret=None, policy=EgressPolicy.trusting(), concurrency=in_flight
    )
    dialect = OpenAiDialect(transport, MODEL, abilities=Abilities())

    async def ask(request: ChatRequest) -> str:
        return (await dialect.complete(request)).text

    try:
        yield ask
    finally:
        await transport.close()


@asynccontextmanager
async def bare_aiohttp(url: str, in_flight: int) -> AsyncIterator[Ask]:
    """Ask with aiohttp as its documentation shows."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=in_flight)) as session:

        async def ask(request: ChatRequest) -> str:
            async with session.post(f"{url}/chat/completions", json=body_of(request)) as response:
                response.raise_for_status()
                return (await response.json())["choices"][0]["message"]["content"]

        yield ask


@asynccontextmanager
async def bare_httpx(url: str, in_flight: int) -> AsyncIterator[Ask]:
    """Ask with httpx as its documentation shows."""
    httpx = importlib.import_module(HTTPX)
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:

        async def ask(request: ChatRequest) -> str:
            response = await client.post(f"{url}/chat/completions", json=body_of(request))
            response.raise_for_status()
            return response.json()["choices"][0]["message"]["content"]

        yield ask


HTTPX = next(name for name in ("httpx", "httpx2") if importlib.util.find_spec(name))
"""httpx under whichever name is installed; the library that we use brings its successor."""


async def measured(side: Callable[..., object], url: str, calls: int, in_flight: int) -> Run:
    """Make the calls and time them, after some that open the connections."""
    requests, texts = chats(calls), [""] * calls
    async with side(url, in_flight) as ask:

        async def lane(numbers: range) -> None:
            for number in numbers:
                texts[number] = await ask(requests[number])

        begun = time.perf_counter()
        await _lanes(lane, range(in_flight), in_flight)
        started, processor = time.perf_counter(), time.process_time()
        await _lanes(lane, range(calls), in_flight)
        seconds = time.perf_counter() - started
        processor = time.process_time() - processor
    figures = {
        "calls per second": calls / seconds,
        COST: 1e3 * processor / calls,
    }
    outcome = {str(number): text for number, text in enumerate(texts)}
    return Run(seconds, started - begun, outcome, figures)


async def _lanes(lane: Callable[[range], Awaitable[None]], numbers: range, in_flight: int) -> None:
    async with asyncio.TaskGroup() as group:
        for first in range(in_flight):
            group.create_task(lane(numbers[first::in_flight]))


def cost(run: Run) -> float:
    """Return what a call cost."""
    return run.figures[COST]


def main() -> None:
    """Run the pairs and print the ratios."""
    given = harness.options(__doc__, calls=4000, in_flight=64)
    if given.quick:
        given.calls = 200
    with harness.instant_server() as url:

        def side(make: Callable[..., object]) -> Run:
            return asyncio.run(measured(make, url, given.calls, given.in_flight))

        against_aiohttp = alternate(partial(side, ours), partial(side, bare_aiohttp), given.pairs)
        against_httpx = alternate(partial(side, ours), partial(side, bare_httpx), given.pairs)
    harness.report(
        "A call to an endpoint, beside bare clients",
        sides={
            "ours": [run for run, _ in against_aiohttp],
            "bare aiohttp": [run for _, run in against_aiohttp],
            "bare httpx": [run for _, run in against_httpx],
        },
        goals=[
            Goal("processor time, ours / bare aiohttp", ratios(against_aiohttp, cost), 1.5),
            Goal("processor time, ours / bare httpx", ratios(against_httpx, cost), 0.5),
        ],
        given=given,
    )


if __name__ == "__main__":
    main()
