"""Ask a server what it can do, by having it done once: a port that answers proves nothing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

from evaluators.errors import CallRefused, RuntimeUnavailable
from evaluators.runtimes.client import Transport
from evaluators.runtimes.server.protocol import Facts
from evaluators.runtimes.vllm_server.plan import SERVED_AS, Plan

CANARY_SECONDS = 300.0
"""How long the first token may take once the server answers: it may compile on the way."""

_POLL = 0.25
_HELLO = [{"role": "user", "content": "Hello"}]
_ONE = {"model": SERVED_AS, "max_tokens": 1, "temperature": 0.0}
_CHAT = "/v1/chat/completions"
_TEXT = "/v1/completions"

_PROBES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "chat": (_CHAT, {"messages": _HELLO}),
    "prefix": (
        _CHAT,
        {
            "messages": [*_HELLO, {"role": "assistant", "content": "Hel"}],
            "add_generation_prompt": False,
            "continue_final_message": True,
        },
    ),
    "token_logprobs": (_TEXT, {"prompt": "Hello", "logprobs": 0}),
    "top_logprobs": (_TEXT, {"prompt": "Hello", "logprobs": 2}),
    "echo": (_TEXT, {"prompt": "Hello, world", "prompt_logprobs": 0}),
    "n": (_TEXT, {"prompt": "Hello", "n": 2, "temperature": 1.0, "seed": 1}),
}
"""The request that shows each capability; what the server refuses it lacks."""

_IMPLIED = {"echo": ("label_likelihood",)}
"""What follows: a label's log-probability is that of a text of one token."""


async def answers(transport: Transport) -> None:
    """Wait until the server's port answers; whether its model does is not known then."""
    while True:
        try:
            async with asyncio.timeout(5.0):
                await transport.ask("GET", "/v1/models")
        except (RuntimeUnavailable, CallRefused, TimeoutError):
            await asyncio.sleep(_POLL)
        else:
            return


async def canary(transport: Transport, *, seconds: float = CANARY_SECONDS) -> None:
    """See one token come out.

    Raises:
        RuntimeUnavailable: None came in time, or the server failed.
    """
    try:
        async with asyncio.timeout(seconds):
            answer = await transport.ask("POST", _TEXT, {**_ONE, "prompt": "Hello", "logprobs": 0})
    except TimeoutError as error:
        reason = f"the server answers, but no token came out of it within {seconds:g} s"
        raise RuntimeUnavailable(reason=reason) from error
    if not (answer.get("usage") or {}).get("completion_tokens"):
        raise RuntimeUnavailable(reason="the server answers, but its answers hold no token")


async def facts_of(transport: Transport, plan: Plan) -> Facts:
    """Return what the server says and shows of itself."""
    listed = await transport.ask("GET", "/v1/models")
    capabilities = {name for name in _PROBES if await _can(transport, name)}
    if "chat" not in capabilities:  # then a prefix is the end of a plain prompt
        capabilities.add("prefix")
    for name in tuple(capabilities):
        capabilities.update(_IMPLIED.get(name, ()))
    template = await _template(transport) if "chat" in capabilities else None
    return Facts(
        label=plan.label,
        context_window=int(listed["data"][0]["max_model_len"]),
        capabilities=frozenset(capabilities),
        batch_size=plan.batch_size,
        has_chat_template="chat" in capabilities,
        chat_template_sha256=template,
        dtype=plan.dtype,
        device=plan.device,
        parameters=plan.parameters,
        versions=plan.versions,
        server="vllm",
    )


async def _can(transport: Transport, name: str) -> bool:
    path, body = _PROBES[name]
    try:
        async with asyncio.timeout(CANARY_SECONDS):
            await transport.ask("POST", path, {**_ONE, **body})
    except CallRefused:
        return False
    except TimeoutError as error:
        reason = f"the probe of {name} was not answered within {CANARY_SECONDS:g} s"
        raise RuntimeUnavailable(reason=reason) from error
    return True


async def _template(transport: Transport) -> str | None:
    """Return the hash of the chat template in use."""
    try:
        about = await transport.ask("GET", "/tokenizer_info")
    except CallRefused:  # an engine without that route
        return None
    template = about.get("chat_template")
    return hashlib.sha256(template.encode()).hexdigest() if isinstance(template, str) else None
