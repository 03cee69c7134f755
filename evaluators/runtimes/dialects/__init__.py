"""How kinds of servers want to be asked, and what their answers mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from evaluators.errors import RuntimeUnavailable
from evaluators.model import ChatRequest, Completion, LikelihoodRequest, Likelihoods
from evaluators.runtimes.client import Transport


class Dialect(Protocol):
    """A served model as its kind of server speaks."""

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer one request, or raise CallRefused or RuntimeUnavailable."""
        ...

    async def likelihood(self, request: LikelihoodRequest) -> Likelihoods:
        """Weigh choices, or raise CallRefused or RuntimeUnavailable."""
        ...


def dialect_of(facts: Mapping[str, Any], transport: Transport) -> Dialect:
    """Return the dialect that a child's facts name, `redraft` unless they say otherwise.

    Args:
        facts: What the child said of itself when it was ready.
        transport: The way to its server.

    Raises:
        RuntimeUnavailable: The child speaks a dialect that is not known here.
    """
    match facts.get("server", "redraft"):
        case "redraft":
            from evaluators.runtimes.dialects.redraft import RedraftDialect

            return RedraftDialect(transport, chat="chat" in facts["capabilities"])
        case "vllm":
            from evaluators.runtimes.dialects.vllm import VllmDialect

            return VllmDialect(transport, facts)
        case other:
            raise RuntimeUnavailable(reason=f"the runtime speaks an unknown dialect: {other!r}")
