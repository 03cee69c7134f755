"""What a bad endpoint does to an answer: the faults that the stub model server can switch on."""

from __future__ import annotations

import asyncio
import copy
import json
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from time import time

from aiohttp import web

from evaluators.testing.stub_answers import Reply

_FOR_EVER = 3600.0
_HUGE = 10 * 1024 * 1024
_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class FaultOptions:
    """How the faults look."""

    retry_after: float = 1.0
    """Seconds that a 429 asks to wait."""
    drip_seconds: float = 1.0
    """Seconds between two bytes of a drip."""
    redirect_to: str = "http://169.254.169.254/latest/meta-data/"
    rates: Mapping[str, float] = field(default_factory=dict)
    """Share of calls by fault; the rest is answered well."""


async def _too_many(reply: Reply, request: web.Request, options: FaultOptions) -> web.Response:
    return problem(429, "slow down", headers={"Retry-After": f"{options.retry_after:g}"})


async def _too_many_until(
    reply: Reply, request: web.Request, options: FaultOptions
) -> web.Response:
    date = formatdate(time() + options.retry_after, usegmt=True)
    return problem(429, "slow down", headers={"Retry-After": date})


async def _broken(reply: Reply, request: web.Request, options: FaultOptions) -> web.Response:
    return problem(500, "out of order")


async def _hang(reply: Reply, request: web.Request, options: FaultOptions) -> web.Response:
    await asyncio.sleep(_FOR_EVER)
    return web.json_response(reply)


async def _drip(reply: Reply, request: web.Request, options: FaultOptions) -> web.StreamResponse:
    raw = json.dumps(reply).encode()
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = len(raw)
    await response.prepare(request)
    for place in range(len(raw)):
        await response.write(raw[place : place + 1])
        await asyncio.sleep(options.drip_seconds)
    return response


async def _cut(reply: Reply, request: web.Request, options: FaultOptions) -> web.Response:
    raw = json.dumps(reply).encode()
    return web.Response(body=raw[: len(raw) // 2], content_type="application/json")


async def _wrong_type(reply: Reply, request: web.Request, options: FaultOptions) -> web.Response:
    page = "<html><title>Please sign in</title></html>"
    return web.Response(text=page, content_type="text/html")


async def _huge(reply: Reply, request: web.Request, options: FaultOptions) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"choices": [{"message": {"content": "')
    for _ in range(_HUGE // _CHUNK):
        await response.write(b"x" * _CHUNK)
    await response.write(b'"}, "finish_reason": "stop"}]}')
    return response


async def _long_headers(reply: Reply, request: web.Request, options: FaultOptions) -> web.Response:
    return web.json_response(reply, headers={"X-Padding": "x" * 100_000})


async def _not_numbers(reply: Reply, request: web.Request, options: FaultOptions) -> web.Response:
    entry = {"token": "x", "logprob": math.nan, "top_logprobs": []}
    for choice in reply["choices"]:
        choice["logprobs"] = {"content": [entry], "tokens": ["x"], "token_logprobs": [math.nan]}
    return web.json_response(reply)


async def _empty(reply: Reply, request: web.Request, options: FaultOptions) -> web.Response:
    return web.json_response({**reply, "choices": []})


async def _null(reply: Reply, request: web.Request, options: FaultOptions) -> web.Response:
    for choice in reply["choices"]:
        if "message" in choice:
            choice["message"]["content"] = None
        choice["text"] = None
    return web.json_response(reply)


async def _close(reply: Reply, request: web.Request, options: FaultOptions) -> web.StreamResponse:
    raw = json.dumps(reply).encode()
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = len(raw)
    await response.prepare(request)
    await response.write(raw[: len(raw) // 2])
    if request.transport is not None:
        request.transport.abort()
    return response


async def _lies(reply: Reply, request: web.Request, options: FaultOptions) -> web.Response:
    usage = {"prompt_tokens": -1, "completion_tokens": 10**12, "total_tokens": 0}
    return web.json_response({**reply, "usage": usage})


async def _no_usage(reply: Reply, request: web.Request, options: FaultOptions) -> web.Response:
    return web.json_response({key: value for key, value in reply.items() if key != "usage"})


async def _redirect(reply: Reply, request: web.Request, options: FaultOptions) -> web.Response:
    return web.Response(status=302, headers={"Location": options.redirect_to})


async def _no_model(reply: Reply, request: web.Request, options: FaultOptions) -> web.Response:
    return problem(404, "The model does not exist or you do not have access to it.")


Fault = Callable[[Reply, web.Request, FaultOptions], Awaitable[web.StreamResponse]]

FAULTS: Mapping[str, Fault] = {
    "429": _too_many,
    "429-date": _too_many_until,
    "500": _broken,
    "hang": _hang,
    "drip": _drip,
    "cut": _cut,
    "type": _wrong_type,
    "huge": _huge,
    "headers": _long_headers,
    "nan": _not_numbers,
    "empty": _empty,
    "null": _null,
    "close": _close,
    "usage": _lies,
    "no-usage": _no_usage,
    "redirect": _redirect,
    "404": _no_model,
}
"""By name: what comes instead of a good answer."""


async def spoil(
    name: str, reply: Reply, *, request: web.Request, options: FaultOptions
) -> web.StreamResponse:
    """Answer with a fault instead of the good reply."""
    return await FAULTS[name](copy.deepcopy(reply), request, options)


def problem(status: int, message: str, *, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return an error as OpenAI words it."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    body = {"error": {"message": message, "type": kind, "code": None}}
    return web.json_response(body, status=status, headers=headers)
