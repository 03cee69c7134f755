"""Endpoints for tests: a stub on the loopback interface, and models opened on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from evaluators.model import ChatRequest, Message, Sampling
from evaluators.runtimes import EgressPolicy, ModelSpec, RunningModel, open_runtime
from evaluators.testing.stub_server import StubOptions, StubServer, serve

KEY = "sk-canary-0123456789"
QUICK = {"timeout": 2, "backoff": 0.01, "max_retries": 2}
EVERYTHING = StubOptions().can


def spec_of(url: str, **args: Any) -> ModelSpec:
    return ModelSpec("endpoint", "endpoint", {"base_url": url, "model": "stub", **QUICK, **args})


def ask(*messages: Message, **sampling: Any) -> ChatRequest:
    return ChatRequest(messages, Sampling(**sampling))


@asynccontextmanager
async def opened(
    options: StubOptions | None = None, *, secret: str | None = None, **args: Any
) -> AsyncIterator[tuple[RunningModel, StubServer]]:
    async with serve(options) as stub:
        spec = spec_of(stub.url, **args)
        async with open_runtime(spec, secret=secret, policy=EgressPolicy.trusting()) as model:
            yield model, stub
