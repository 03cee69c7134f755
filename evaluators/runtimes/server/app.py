"""The OpenAI-compatible routes over one model."""

from __future__ import annotations

import itertools
import json
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web

from evaluators.model import TokenLogprob
from evaluators.runtimes.server.protocol import (
    Answerer,
    Refused,
    Reply,
    Weighed,
    read_chat,
    read_completion,
    read_likelihood,
)

MAX_BODY = 256 * 1024 * 1024
"""Bytes of a request; the context window is the real limit."""

LEAST = -9999.0
"""What stands for a token's minus infinity, as with other servers."""

LEAST_SUM = -1e9
"""The same for a text's sum, below that of any text."""

_log = logging.getLogger(__name__)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(model: Answerer) -> web.Application:
    """Return the web application that serves the model."""
    ids = itertools.count()

    async def chat(request: web.Request) -> web.Response:
        call = read_chat(await _body(request))
        reply = await model.answer(call)
        choice: dict[str, Any] = {"message": {"role": "assistant", "content": reply.text}}
        if call.sampling.logprobs is not None:
            choice["logprobs"] = {"content": [_chat_logprob(token) for token in reply.logprobs]}
        return _completion(reply, choice, kind="chat.completion", number=next(ids))

    async def complete(request: web.Request) -> web.Response:
        call = read_completion(await _body(request))
        reply = await model.answer(call)
        choice: dict[str, Any] = {"text": reply.text}
        if call.sampling.logprobs is not None:
            choice["logprobs"] = _text_logprobs(reply.logprobs)
        return _completion(reply, choice, kind="text_completion", number=next(ids))

    async def weigh(request: web.Request) -> web.Response:
        return _likelihoods(await model.weigh(read_likelihood(await _body(request))))

    async def models(request: web.Request) -> web.Response:
        facts = model.facts
        entry = {
            "id": facts.label,
            "object": "model",
            "owned_by": "redraft",
            "max_model_len": facts.context_window,
        }
        return web.json_response({"object": "list", "data": [entry]})

    async def health(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", **model.facts.wire()})

    app = web.Application(client_max_size=MAX_BODY, middlewares=[_errors])
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_post("/v1/completions", complete)
    app.router.add_post("/v1/likelihood", weigh)
    app.router.add_get("/v1/models", models)
    app.router.add_get("/health", health)
    return app


async def _body(request: web.Request) -> object:
    try:
        return json.loads(await request.read())
    except ValueError as error:
        raise Refused(f"the body is not valid JSON: {error}") from error


def _completion(reply: Reply, choice: dict[str, Any], *, kind: str, number: int) -> web.Response:
    usage = _usage(reply.prompt_tokens, reply.completion_tokens)
    choices = [{"index": 0, "finish_reason": reply.finish_reason, **choice}]
    return web.json_response(
        {"id": f"call-{number}", "object": kind, "choices": choices, "usage": usage}
    )


def _likelihoods(weighed: Weighed) -> web.Response:
    choices = [
        {
            "text": choice.text,
            "logprob": _sayable(choice.logprob, LEAST_SUM),
            "tokens": choice.tokens,
            "greedy": choice.greedy,
        }
        for choice in weighed.choices
    ]
    return web.json_response({"choices": choices, "usage": _usage(weighed.prompt_tokens, 0)})


def _usage(prompt: int | None, completion: int | None) -> dict[str, int | None]:
    total = (prompt or 0) + (completion or 0)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}


def _chat_logprob(token: TokenLogprob) -> dict[str, Any]:
    """Return a token as chat completions report it."""
    top = [_named(text, logprob) for text, logprob in token.top]
    return {**_named(token.token, token.logprob), "top_logprobs": top}


def _named(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": _sayable(logprob), "bytes": list(text.encode())}


def _text_logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    """Return tokens as plain completions report them."""
    return {
        "tokens": [token.token for token in tokens],
        "token_logprobs": [_sayable(token.logprob) for token in tokens],
        "top_logprobs": [{text: _sayable(logprob) for text, logprob in t.top} for t in tokens],
    }


def _sayable(logprob: float, least: float = LEAST) -> float:
    """Return a log-probability that JSON can say; what is impossible has minus infinity."""
    if math.isnan(logprob):
        raise ValueError("the model's log-probability is not a number")
    return max(logprob, least)


@web.middleware
async def _errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Turn refusals into 400 and faults into 500, both with a one-line reason."""
    try:
        return await handler(request)
    except Refused as refusal:
        return _problem(400, "invalid_request_error", str(refusal))
    except web.HTTPException as error:
        return _problem(error.status, "invalid_request_error", error.reason)
    except Exception as error:  # noqa: BLE001 - the edge of the process: the caller has to learn of it
        _log.exception("A call failed")
        return _problem(500, "server_error", f"{type(error).__name__}: {error}"[:500])


def _problem(status: int, kind: str, message: str) -> web.Response:
    return web.json_response({"error": {"type": kind, "message": message}}, status=status)
