"""The one HTTP client of served models, and how its faults become our errors."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from evaluators.errors import CallRefused, RuntimeUnavailable
from evaluators.model import ChatRequest, Completion, FinishReason, Sampling, Usage

_FINISH: dict[str, FinishReason] = {
    "stop": "stop", "length": "length", "content_filter": "content_filter", "eos": "stop",
}  # fmt: skip


class Client:
    """Talks to one OpenAI-compatible server on a Unix socket."""

    def __init__(self, socket: Path) -> None:
        self._session = aiohttp.ClientSession(
            "http://runtime",
            connector=aiohttp.UnixConnector(str(socket), limit=0),
            # A long batch is no fault: deadlines belong to the engine.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=30.0),
        )

    async def close(self) -> None:
        """Give the connections back."""
        await self._session.close()

    async def health(self) -> Mapping[str, Any]:
        """Return what the server says of itself."""
        return await self._ask("GET", "/health", None)

    async def complete(self, request: ChatRequest, *, chat: bool) -> Completion:
        """Answer one request; without a chat template the prompt is the text as it stands."""
        started = time.perf_counter()
        fields = _sampling_fields(request.sampling)
        if chat:
            messages = [message.wire() for message in request.messages]
            answer = await self._ask(
                "POST", "/v1/chat/completions", {"messages": messages, **fields}
            )
        else:
            answer = await self._ask(
                "POST", "/v1/completions", {"prompt": plain_prompt(request), **fields}
            )
        return _completion(answer, seconds=time.perf_counter() - started)

    async def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None
    ) -> Mapping[str, Any]:
        # A stream, because aiohttp warns of large bodies that it would have to copy at once.
        data = None if body is None else io.BytesIO(json.dumps(body).encode())
        headers = {"Content-Type": "application/json"}
        try:
            async with self._session.request(method, path, data=data, headers=headers) as response:
                status, raw = response.status, await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            reason = f"the runtime does not answer: {type(error).__name__}: {error}"
            raise RuntimeUnavailable(reason=reason) from error
        except RuntimeError as error:  # aiohttp's way of saying that the session is closed
            raise RuntimeUnavailable(reason=f"the runtime has been stopped: {error}") from error
        answer = _object(raw)
        if 400 <= status < 500:
            raise CallRefused(status=status, reason=_message(answer, raw))
        if status >= 500:
            raise RuntimeUnavailable(reason=f"HTTP {status}: {_message(answer, raw)}")
        if answer is None:
            raise RuntimeUnavailable(reason=f"the answer is not a JSON object: {raw[:100]!r}")
        return answer


def plain_prompt(request: ChatRequest) -> str:
    """Return the text to send to a model without a chat template.

    That is one user message, and an assistant's prefix after it if there is one.

    Raises:
        CallRefused: The request is a conversation.
    """
    roles = [message.role for message in request.messages]
    if roles not in (["user"], ["user", "assistant"]):
        raise CallRefused(status=400, reason="a model without a chat template cannot converse")
    return "".join(message.content for message in request.messages)


def _sampling_fields(sampling: Sampling) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
    }
    if sampling.stop:
        fields["stop"] = list(sampling.stop)
    if sampling.seed is not None:
        fields["seed"] = sampling.seed
    return fields


def _object(raw: bytes) -> Mapping[str, Any] | None:
    try:
        value = json.loads(raw)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _message(answer: Mapping[str, Any] | None, raw: bytes) -> str:
    error = (answer or {}).get("error")
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return str(error["message"])
    return raw[:300].decode("utf-8", "replace")


def _completion(answer: Mapping[str, Any], *, seconds: float) -> Completion:
    try:
        choice = answer["choices"][0]
        text = choice["message"]["content"] if "message" in choice else choice["text"]
        finish = _FINISH[choice["finish_reason"]]
        usage = answer["usage"]
        tokens = Usage(usage["prompt_tokens"] or 0, usage["completion_tokens"] or 0)
    except (KeyError, IndexError, TypeError) as error:
        raise RuntimeUnavailable(reason=f"the answer lacks {error}: {str(answer)[:200]}") from error
    if not isinstance(text, str):
        raise RuntimeUnavailable(reason=f"the answer's text is {text!r}")
    return Completion(text, finish, tokens, seconds=seconds)
