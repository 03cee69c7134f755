"""The dialect of our own server: OpenAI's routes, and one for likelihoods."""

from __future__ import annotations

import time

from evaluators.model import ChatRequest, Completion, LikelihoodRequest, Likelihoods
from evaluators.runtimes import wire
from evaluators.runtimes.client import Transport


class RedraftDialect:
    """Asks our own server.

    Args:
        transport: The way to it.
        chat: The model has a chat template; without one the prompt is the text as it stands.
    """

    def __init__(self, transport: Transport, *, chat: bool) -> None:
        self._transport = transport
        self._chat = chat
        self._path = "/v1/chat/completions" if chat else "/v1/completions"

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer one request."""
        started = time.perf_counter()
        body = wire.completion_body(request, chat=self._chat)
        answer = await self._transport.ask("POST", self._path, body)
        return wire.read_completion(answer, seconds=time.perf_counter() - started)

    async def likelihood(self, request: LikelihoodRequest) -> Likelihoods:
        """Weigh choices."""
        started = time.perf_counter()
        body = wire.likelihood_body(request, chat=self._chat)
        answer = await self._transport.ask("POST", "/v1/likelihood", body)
        return wire.read_likelihoods(answer, seconds=time.perf_counter() - started)
