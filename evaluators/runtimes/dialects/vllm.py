"""The dialect of vLLM's server: OpenAI's routes, with its own ways to prefixes and likelihoods."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from evaluators.errors import CallRefused, ContextTooLong, RuntimeUnavailable, first_error
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
from evaluators.runtimes.client import Transport

_CHAT = "/v1/chat/completions"
_TEXT = "/v1/completions"
_MODEL = {"model": "model"}

_TEMPLATE_TOKENS = 512
"""More than a chat template adds; a prompt that may be longer than the rest is counted first."""

Ids = list[int]


def completion_body(request: ChatRequest, *, chat: bool) -> dict[str, Any]:
    """Return the body of a request for text; a last assistant message is continued."""
    body = {**_MODEL, **wire.completion_body(request, chat=chat)}
    return {**body, **_opening(request.messages)} if chat else body


def tokenize_body(messages: Sequence[Message], *, chat: bool) -> dict[str, Any]:
    """Return the body that asks for the tokens of a prompt, as it would be computed."""
    body = {**_MODEL, **wire.prompt_fields(messages, chat=chat)}
    return {**body, **_opening(messages)} if chat else body


def text_body(text: str) -> dict[str, Any]:
    """Return the body that asks for the tokens of a text that has its special tokens already."""
    return {**_MODEL, "prompt": text, "add_special_tokens": False}


def scoring_body(prompts: Sequence[Ids]) -> dict[str, Any]:
    """Return the body that asks for the log-probability of every token of the prompts.

    A salt that nobody else has keeps the prefix cache out: what was computed in another batch
    differs in the last digits.
    """
    return {
        **_MODEL,
        "prompt": [list(prompt) for prompt in prompts],
        "max_tokens": 1,
        "temperature": 0.0,
        "prompt_logprobs": 0,
        "cache_salt": uuid.uuid4().hex,
    }


def _opening(messages: Sequence[Message]) -> dict[str, Any]:
    """Return how the assistant's turn begins: anew, or with the text that is there."""
    continues = bool(messages) and messages[-1].role == "assistant"
    return {"add_generation_prompt": not continues, "continue_final_message": continues}


def most_tokens(messages: Sequence[Message]) -> int:
    """Return a number of tokens that the messages cannot exceed: a byte is at most one token."""
    return _TEMPLATE_TOKENS + sum(16 + len(message.content.encode()) for message in messages)


def read_scores(
    answer: Mapping[str, Any], prompts: Sequence[Ids], *, skipped: Sequence[int]
) -> list[tuple[float, bool]]:
    """Return the summed log-probability of each prompt's end, and whether it is the greedy one.

    Args:
        answer: What the server said to `scoring_body`.
        prompts: What was asked.
        skipped: How many tokens at the beginning of each are only context.

    Raises:
        RuntimeUnavailable: The answer lacks a token, or one of them has no number.
    """
    try:
        by_index = {choice["index"]: choice["prompt_logprobs"] for choice in answer["choices"]}
        found = []
        for index, (prompt, context) in enumerate(zip(prompts, skipped, strict=True)):
            entries = [
                entry[str(token)]
                for token, entry in zip(prompt, by_index[index], strict=True)
                if entry is not None
            ]
            scored = entries[context - 1 :]  # the first token of all has no probability
            found.append(
                (
                    sum(float(entry["logprob"]) for entry in scored),
                    all(entry["rank"] == 1 for entry in scored),
                )
            )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise RuntimeUnavailable(reason=f"the answer lacks {error}: {str(answer)[:200]}") from error
    return found


class VllmDialect:
    """Asks a vLLM server.

    Args:
        transport: The way to it.
        facts: What its agent said of it.
    """

    def __init__(self, transport: Transport, facts: Mapping[str, Any]) -> None:
        self._transport = transport
        self._chat = "chat" in facts["capabilities"]
        self._window = int(facts["context_window"])

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer one request; what does not fit into the context is refused, never cut."""
        started = time.perf_counter()
        await self._check_fit(request)
        body = completion_body(request, chat=self._chat)
        answer = await self._transport.ask("POST", _CHAT if self._chat else _TEXT, body)
        return wire.read_completion(answer, seconds=time.perf_counter() - started)

    async def likelihood(self, request: LikelihoodRequest) -> Likelihoods:
        """Weigh choices as lm-eval does: by the tokens that they add to the prompt's text."""
        started = time.perf_counter()
        try:
            context, prompts = await self._prompts(request)
        except BaseExceptionGroup as error:
            raise first_error(error) from error
        if request.labels:
            _check_labels(request.choices, context, prompts)
        self._check_length(request.choices, prompts)
        answer = await self._transport.ask("POST", _TEXT, scoring_body(prompts))
        skipped = [min(len(context), len(prompt) - 1) for prompt in prompts]
        scores = read_scores(answer, prompts, skipped=skipped)
        choices = tuple(
            ChoiceLikelihood(text, logprob, len(prompt) - context_tokens, greedy)
            for text, prompt, context_tokens, (logprob, greedy) in zip(
                request.choices, prompts, skipped, scores, strict=True
            )
        )
        usage = Usage(sum(map(len, prompts)), 0)
        return Likelihoods(choices, usage, seconds=time.perf_counter() - started)

    async def _check_fit(self, request: ChatRequest) -> None:
        """Count the prompt where it may not fit: vLLM would only give it less room to answer in."""
        wanted = request.sampling.max_tokens
        if most_tokens(request.messages) + wanted <= self._window:
            return
        prompt = len(await self._tokens(tokenize_body(request.messages, chat=self._chat)))
        if prompt + wanted > self._window:
            reason = (
                f"the prompt has {prompt} tokens and max_tokens is {wanted}: together "
                f"{prompt + wanted}, more than the context window of {self._window}"
            )
            raise ContextTooLong(status=400, reason=reason)

    async def _prompts(self, request: LikelihoodRequest) -> tuple[Ids, list[Ids]]:
        """Return the tokens of the context, and of the context with each choice behind it."""
        context = await self._tokens(tokenize_body(request.messages, chat=self._chat))
        text = await self._text(context)
        async with asyncio.TaskGroup() as group:  # the first refusal ends the others
            whole = [
                group.create_task(self._tokens(text_body(text + choice)))
                for choice in request.choices
            ]
        # Blanks at the end of the context belong to a text that follows, as in lm-eval: that is how
        # words are cut. A label stands where the next token stands, behind all blanks.
        kept = text if request.labels else text.rstrip()
        if kept != text:
            context = await self._tokens(text_body(kept))
        return context, [task.result() for task in whole]

    async def _tokens(self, body: Mapping[str, Any]) -> Ids:
        answer = await self._transport.ask("POST", "/tokenize", body)
        return [int(token) for token in answer["tokens"]]

    async def _text(self, tokens: Ids) -> str:
        answer = await self._transport.ask("POST", "/detokenize", {**_MODEL, "tokens": tokens})
        return str(answer["prompt"])

    def _check_length(self, choices: Sequence[str], prompts: Sequence[Ids]) -> None:
        for choice, prompt in zip(choices, prompts, strict=True):
            # One more, because vLLM always generates one.
            if len(prompt) + 1 > self._window:
                reason = (
                    f"the prompt has {len(prompt)} tokens with the choice {choice[:40]!r}, and one "
                    f"is generated: more than the context window of {self._window}"
                )
                raise ContextTooLong(status=400, reason=reason)


def _check_labels(choices: Sequence[str], context: Ids, prompts: Sequence[Ids]) -> None:
    """Refuse labels that are not one token right behind the context."""
    for choice, prompt in zip(choices, prompts, strict=True):
        if len(prompt) != len(context) + 1 or prompt[:-1] != context:
            added = len(prompt) - len(context)
            reason = f"the label {choice!r} is not one token here, but {added}"
            raise CallRefused(status=400, reason=reason)
