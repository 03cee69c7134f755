"""The dialect of endpoints: what every OpenAI-compatible server takes, as far as it was seen to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from evaluators.errors import CallRefused, RuntimeUnavailable, first_error
from evaluators.model import (
    ChatRequest,
    ChoiceLikelihood,
    Completion,
    LikelihoodRequest,
    Likelihoods,
    Message,
    Usage,
)
from evaluators.runtimes import wire
from evaluators.runtimes.client import Answer, Read
from evaluators.runtimes.endpoint.transport import EndpointTransport, Forbidden

T = TypeVar("T")

PrefixStyle = Literal["continue_final_message", "trailing"]
"""How to have a beginning continued: vLLM's parameters, or an assistant's message at the end."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What an endpoint was seen to do."""

    chat: bool = True
    """It serves chats; else plain completions."""
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What it calls the token limit."""
    prefix: PrefixStyle | None = None
    logprobs: int | None = None
    """Most alternatives per token; 0 for the generated tokens alone, None for nothing."""
    several: bool = False
    """It takes `n`."""
    echo: Literal[0, 1] | None = None
    """Tokens to generate when a text is echoed with its log-probabilities; None: it cannot."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Parameters that it refuses, with its words."""
    omitted: frozenset[str] = frozenset()
    """Parameters that the user wants left to the endpoint."""


class OpenAiDialect:
    """Asks an endpoint for what it was seen to do, and refuses the rest before it is sent.

    Args:
        transport: The way to it.
        model: The model's name there.
        abilities: What the probe found.
        canary: Asks for a token; raises BadModel when the key or the model is not accepted.
    """

    def __init__(
        self,
        transport: EndpointTransport,
        model: str,
        *,
        abilities: Abilities,
        canary: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._transport = transport
        self._model = model
        self._abilities = abilities
        self._canary = canary
        self._path = "/chat/completions" if abilities.chat else "/completions"

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer one request.

        Raises:
            CallRefused: The endpoint will not serve it.
            RuntimeUnavailable: It does not answer well.
            BadModel: It no longer accepts the key or the model.
        """
        body = self.body(request)
        wanted = request.sampling.logprobs is not None
        started = time.perf_counter()

        def read(answer: Answer) -> Completion:
            found = wire.read_completion(answer, seconds=time.perf_counter() - started)
            if wanted and found.text and not found.logprobs:
                raise RuntimeUnavailable(reason="the answer has no log-probabilities")
            return found

        return await self._call(body, read)

    async def likelihood(self, request: LikelihoodRequest) -> Likelihoods:
        """Weigh choices: labels as next tokens, or whole texts by having them echoed.

        Raises:
            CallRefused: The endpoint cannot tell, or a label is not among the likeliest tokens.
            RuntimeUnavailable: It does not answer well.
            BadModel: It no longer accepts the key or the model.
        """
        if request.labels:
            return await self._labels(request)
        return await self._echoes(request)

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """Return the body of a request.

        Raises:
            CallRefused: It needs what the endpoint lacks.
        """
        able, sampling = self._abilities, request.sampling
        if sampling.logprobs is not None and sampling.logprobs > _most(able.logprobs):
            raise _lacks(f"{sampling.logprobs} alternatives per token")
        fields = wire.sampling_fields(sampling)
        fields[able.limit] = fields.pop("max_tokens")
        if sampling.top_p == 1.0:
            del fields["top_p"]
        for name in able.omitted:
            fields.pop(name, None)
        for name in fields.keys() & able.refused.keys():
            raise CallRefused(
                status=400, reason=f"the endpoint refuses {name}: {able.refused[name]}"
            )
        return {
            "model": self._model,
            **wire.prompt_fields(request.messages, chat=able.chat),
            **fields,
            **wire.logprob_fields(sampling.logprobs, chat=able.chat),
            **self._continued(request.messages),
        }

    def _continued(self, messages: Sequence[Message]) -> dict[str, Any]:
        if not self._abilities.chat or messages[-1].role != "assistant":
            return {}
        if self._abilities.prefix is None:
            raise _lacks("going on with a given beginning")
        return continuation_fields(self._abilities.prefix)

    async def _call(self, body: Mapping[str, Any], read: Read[T], path: str = "") -> T:
        try:
            return await self._transport.call(path or self._path, body, read=read)
        except Forbidden:
            if self._canary is not None:
                await self._canary()  # raises when it is not this request alone
            raise

    async def _labels(self, request: LikelihoodRequest) -> Likelihoods:
        able = self._abilities
        if not able.logprobs:
            raise _lacks("likelihoods of labels")
        started = time.perf_counter()
        body = {
            "model": self._model,
            **wire.prompt_fields(request.messages, chat=able.chat),
            able.limit: 1,
            "temperature": 0.0,
            **wire.logprob_fields(able.logprobs, chat=able.chat),
            **self._continued(request.messages),
        }
        for name in able.omitted:
            body.pop(name, None)

        def read(answer: Answer) -> Likelihoods:
            return _label_likelihoods(answer, request.choices, started)

        return await self._call(body, read)

    async def _echoes(self, request: LikelihoodRequest) -> Likelihoods:
        if self._abilities.chat or self._abilities.echo is None:
            raise _lacks("likelihoods of texts")
        started = time.perf_counter()
        prompt = wire.plain_prompt(request.messages)
        try:
            async with asyncio.TaskGroup() as group:  # one that fails makes the others useless
                weighed = [
                    group.create_task(self._echo(prompt, choice)) for choice in request.choices
                ]
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors
        found = [task.result() for task in weighed]
        counts = [usage for _, usage in found]
        scored = Usage(sum(usage.prompt_tokens for usage in counts), 0)
        return Likelihoods(
            tuple(choice for choice, _ in found),
            wire.UNKNOWN if wire.UNKNOWN in counts else scored,
            seconds=time.perf_counter() - started,
        )

    async def _echo(self, prompt: str, choice: str) -> tuple[ChoiceLikelihood, Usage]:
        body = {
            "model": self._model,
            "prompt": prompt + choice,
            "max_tokens": self._abilities.echo,
            "temperature": 0.0,
            "logprobs": 1,
            "echo": True,
        }

        def read(answer: Answer) -> tuple[ChoiceLikelihood, Usage]:
            weighed = wire.read_echo(answer, prompt=prompt, choice=choice)
            return weighed, wire.read_usage(answer) or wire.UNKNOWN

        return await self._call(body, read, path="/completions")


def continuation_fields(style: PrefixStyle) -> dict[str, Any]:
    """Return how to ask that the last message, the assistant's, be continued."""
    if style == "trailing":
        return {}
    return {"continue_final_message": True, "add_generation_prompt": False}


def _label_likelihoods(answer: Answer, labels: tuple[str, ...], started: float) -> Likelihoods:
    first = wire.read_first_token(answer)
    known = dict(first.top)
    for label in labels:
        if label not in known:
            reason = (
                f"the label {label!r} is not among the {len(known)} likeliest next tokens, "
                "and the endpoint tells no others"
            )
            raise CallRefused(status=400, reason=reason)
    best = max(known.values())
    choices = tuple(
        ChoiceLikelihood(label, known[label], tokens=1, greedy=known[label] == best)
        for label in labels
    )
    usage = wire.read_usage(answer)
    tokens = Usage(usage.prompt_tokens, 0) if usage else wire.UNKNOWN
    return Likelihoods(choices, tokens, seconds=time.perf_counter() - started)


def _most(alternatives: int | None) -> int:
    return -1 if alternatives is None else alternatives


def _lacks(what: str) -> CallRefused:
    return CallRefused(status=400, reason=f"the endpoint lacks {what}")
