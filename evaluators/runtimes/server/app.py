"""The OpenAI-compatible routes over one model."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from evaluators.runtimes.server.protocol import (
    Answerer,
    Refused,
    Reply,
    read_chat,
    read_completion,
)

MAX_BODY = 256 * 1024 * 1024
"""Bytes of a request; the context window is the real limit."""

_log = logging.getLogger(__name__)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(model: Answerer) -> web.Application:
    """Return the web application that serves the model."""
    ids = itertools.count()

    async def chat(request: web.Request) -> web.Response:
        reply = await model.answer(read_chat(await _body(request)))
        choice = {"message": {"role": "assistant", "content": reply.text}}
        return _completion(reply, choice, kind="chat.completion", number=next(ids))

    async def complete(request: web.Request) -> web.Response:
        reply = await model.answer(read_completion(await _body(request)))
        return _completion(reply, {"text": reply.text}, kind="text_completion", number=next(ids))

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
    app.router.add_get("/v1/models", models)
    app.router.add_get("/health", health)
    return app


async def _body(request: web.Request) -> object:
    try:
        return json.loads(await request.read())
    except ValueError as error:
        raise Refused(f"the body is not valid JSON: {error}") from error


def _completion(reply: Reply, choice: dict[str, Any], *, kind: str, number: int) -> web.Response:
    total = (reply.prompt_tokens or 0) + (reply.completion_tokens or 0)
    usage = {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "total_tokens": total,
    }
    choices = [{"index": 0, "finish_reason": reply.finish_reason, **choice}]
    return web.json_response(
        {"id": f"call-{number}", "object": kind, "choices": choices, "usage": usage}
    )


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
