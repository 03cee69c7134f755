"""An OpenAI-compatible server without a model, which lies, stalls and breaks as it is told to.

    python -m evaluators.testing.stub_server --port 8001 --fault 429=0.1 --fault hang=0.05

What it answers is a function of the request alone. A user message may hold `<<a|b|c>>`: the answer
is a in the first turn, b once the assistant has spoken, c from then on. After `say after me:` it
repeats the rest. Anything else it echoes. Tokens are words. Whether a call meets a fault follows
from the seed, the request and how often that request has come, so a run is the same every time.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from evaluators.testing.stub_faults import FAULTS, FaultOptions, Reply, problem, spoil

_SCRIPT = re.compile(r"<<(.+?)>>", re.DOTALL)
_AFTER_ME = re.compile(r"say after me:\s*(.+)", re.DOTALL | re.IGNORECASE)
_TOKEN = re.compile(r"\s*\S+")
_CLAIMS = frozenset({"models", "chat", "completions", "prefix", "logprobs", "echo", "n", "usage"})
_MAX_BODY = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StubOptions:
    """How the stub behaves."""

    model: str = "stub"
    """The only model it serves; another is answered with 404."""
    can: frozenset[str] = _CLAIMS
    """What it does; a parameter for anything else is answered with 400."""
    refuses: frozenset[str] = frozenset()
    """Parameters that it answers with 400."""
    key: str = ""
    """Key that every call has to bring; empty asks for none."""
    delay: float = 0.0
    """Seconds per call."""
    top_logprobs: int = 20
    """Most alternatives that may be asked for."""
    seed: int = 0
    faults: FaultOptions = field(default_factory=FaultOptions)
    faults_in_a_row: int = 5
    """After so many faults the same request is answered well."""
    silent_after: int | None = None
    """Calls that are answered before it falls silent, though it still says that it is well."""


class StubServer:
    """The stub and what it has seen."""

    def __init__(self, options: StubOptions | None = None) -> None:
        self.options = options or StubOptions()
        if unknown := set(self.options.faults.rates) - set(FAULTS):
            raise ValueError(f"no such fault: {', '.join(sorted(unknown))}")
        self.url = ""
        """Base URL, with `/v1`, once it is served."""
        self.seen: Counter[str] = Counter()
        """How often each request came, by the digest of its path and body."""
        self.faulty: Counter[str] = Counter()
        """How often each fault was met."""
        self.calls = 0
        """Completions asked for, whatever became of them."""
        self.headers: list[Mapping[str, str]] = []
        """Headers of every call."""

    def app(self) -> web.Application:
        """Return the application with its routes."""
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_post("/v1/completions", self._complete)
        return app

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _models(self, request: web.Request) -> web.Response:
        self.headers.append(dict(request.headers))
        if "models" not in self.options.can:
            return problem(404, "Not Found")
        if not self._known(request):
            return problem(401, "Incorrect API key provided.")
        entry = {"id": self.options.model, "object": "model", "owned_by": "stub"}
        return web.json_response({"object": "list", "data": [entry]})

    def _known(self, request: web.Request) -> bool:
        key = self.options.key
        return not key or request.headers.get("Authorization") == f"Bearer {key}"

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        self.headers.append(dict(request.headers))
        self.calls += 1
        body = json.loads(raw)
        if not self._known(request):
            given = request.headers.get("Authorization", "nothing")
            return problem(401, f"Incorrect API key provided: {given}")
        if refused := _refusal(self.options, request.path, body):
            return refused
        silent_after = self.options.silent_after
        if silent_after is not None and self.calls > silent_after:
            return await spoil("hang", {}, request=request, options=self.options.faults)
        reply = _reply(self.options, body)
        if fault := self._fault(request.path.encode() + raw):
            self.faulty[fault] += 1
            return await spoil(fault, reply, request=request, options=self.options.faults)
        await asyncio.sleep(self.options.delay)
        return web.json_response(reply)

    def _fault(self, request: bytes) -> str | None:
        """Draw the fault that this call meets, if any."""
        digest = hashlib.sha256(request).hexdigest()
        count = self.seen[digest]
        self.seen[digest] += 1
        if count >= self.options.faults_in_a_row:
            return None
        drawn = _share(f"{self.options.seed} {digest} {count}")
        for name, rate in sorted(self.options.faults.rates.items()):
            drawn -= rate
            if drawn < 0:
                return name
        return None


@asynccontextmanager
async def serve(
    options: StubOptions | None = None, *, port: int = 0, socket: Path | None = None
) -> AsyncIterator[StubServer]:
    """Serve the stub on the loopback interface, or on a Unix socket, until the block is left."""
    stub = StubServer(options)
    # Whoever hangs up must not be waited for.
    runner = web.AppRunner(
        stub.app(), handler_cancellation=True, access_log=None, shutdown_timeout=0.1
    )
    await runner.setup()
    try:
        site = (
            web.UnixSite(runner, str(socket)) if socket else web.TCPSite(runner, "127.0.0.1", port)
        )
        await site.start()
        if not socket:
            stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield stub
    finally:
        await runner.cleanup()


def _refusal(options: StubOptions, path: str, body: Mapping[str, Any]) -> web.Response | None:
    """Return the answer to a request that can never be served."""
    if body.get("model") != options.model:
        return problem(404, f"The model `{body.get('model')}` does not exist.")
    kind = "chat" if path.endswith("/chat/completions") else "completions"
    if kind not in options.can:
        return problem(404, "Not Found")
    for name in options.refuses & set(body):
        return problem(400, f"Unsupported parameter: '{name}' is not supported with this model.")
    needed = {
        "logprobs": body.get("logprobs") not in {None, False},
        "n": body.get("n", 1) != 1,
        "echo": bool(body.get("echo")),
        "prefix": bool(body.get("continue_final_message")),
    }
    for name in sorted(name for name, asked in needed.items() if asked):
        if name not in options.can:
            return problem(400, f"{name} is not supported")
    most = options.top_logprobs
    if (body.get("top_logprobs") or 0) > most:
        return problem(400, f"top_logprobs must be at most {most}")
    return None


def _reply(options: StubOptions, body: Mapping[str, Any]) -> Reply:
    chat = "messages" in body
    messages = body["messages"] if chat else [{"role": "user", "content": body["prompt"]}]
    text, others = _answer(messages, continues="prefix" in options.can)
    tokens = _TOKEN.findall(text)
    limit = body.get("max_tokens", body.get("max_completion_tokens", 256))
    finish = "length" if len(tokens) > limit else "stop"
    tokens = _stopped(tokens[:limit], body.get("stop") or ())
    asked = sum(len(message["content"].split()) for message in messages)
    given = _chat_choice(tokens, others, body) if chat else _text_choice(tokens, others, body)
    choices = [
        {"index": place, "finish_reason": finish, **given} for place in range(body.get("n") or 1)
    ]
    reply: Reply = {"id": "stub", "model": options.model, "choices": choices}
    if "usage" in options.can:
        made = len(tokens) * len(choices)
        reply["usage"] = {"prompt_tokens": asked, "completion_tokens": made}
    return reply


def _answer(messages: Sequence[Mapping[str, str]], *, continues: bool) -> tuple[str, list[str]]:
    """Return the text and what it could have been instead."""
    prefix = messages[-1]["content"] if messages[-1]["role"] == "assistant" else ""
    users = [message["content"] for message in messages if message["role"] == "user"] or [""]
    script = next((found for text in reversed(users) if (found := _SCRIPT.search(text))), None)
    others: list[str] = []
    if script:
        others = script[1].split("|")
        spoken = sum(message["role"] == "assistant" for message in messages) - bool(prefix)
        text = others[min(spoken, len(others) - 1)]
    elif repeat := _AFTER_ME.search(users[-1]):
        text = repeat[1]
    else:
        text = users[-1]
    if prefix and continues and text.startswith(prefix):
        text = text[len(prefix) :]
    return text, others


def _stopped(tokens: list[str], stop: str | Sequence[str]) -> list[str]:
    text = "".join(tokens)
    for end in [stop] if isinstance(stop, str) else stop:
        text = text.split(end, 1)[0]
    return _TOKEN.findall(text) if text != "".join(tokens) else tokens


def _chat_choice(tokens: list[str], others: list[str], body: Mapping[str, Any]) -> dict[str, Any]:
    choice: dict[str, Any] = {"message": {"role": "assistant", "content": "".join(tokens)}}
    if body.get("logprobs"):
        choice["logprobs"] = {
            "content": [
                {
                    "token": token,
                    "logprob": _logprob(token, place),
                    "top_logprobs": [
                        {"token": name, "logprob": logprob}
                        for name, logprob in _top(token, place, others, body["top_logprobs"])
                    ]
                    if body.get("top_logprobs")
                    else [],
                }
                for place, token in enumerate(tokens)
            ]
        }
    return choice


def _text_choice(tokens: list[str], others: list[str], body: Mapping[str, Any]) -> dict[str, Any]:
    told = _TOKEN.findall(body["prompt"]) if body.get("echo") else []
    shown = [*told, *tokens]
    choice: dict[str, Any] = {"text": "".join(shown)}
    if (alternatives := body.get("logprobs")) is not None:
        starts = [len("".join(shown[:place])) for place in range(len(shown))]
        first: list[float | None] = [None] if told else []
        logprobs = [_logprob(token, place) for place, token in enumerate(shown)]
        choice["logprobs"] = {
            "tokens": shown,
            "text_offset": starts,
            "token_logprobs": [*first, *logprobs[len(first) :]],
            "top_logprobs": [*first]
            + [
                dict(_top(token, place, others, alternatives))
                for place, token in enumerate(shown)
                if place >= len(first)
            ],
        }
    return choice


def _logprob(token: str, place: int) -> float:
    return -0.01 - _share(f"{place} {token}") / 10


def _top(token: str, place: int, others: list[str], count: int) -> list[tuple[str, float]]:
    """Return the likeliest tokens in a place: the one taken, the script's, made-up ones."""
    firsts = [other.split(maxsplit=1)[0] for other in others if other.strip()]
    names = [token, *firsts, *(f"other{number}" for number in range(count))]
    listed = list(dict.fromkeys(names))[:count]
    return [(name, _logprob(token, place) - 2.0 * rank) for rank, name in enumerate(listed)]


def _share(text: str) -> float:
    """Return a number from 0 up to 1 that follows from the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64


def _options(arguments: argparse.Namespace) -> StubOptions:
    rates = {name: float(rate) for name, _, rate in (f.partition("=") for f in arguments.fault)}
    return StubOptions(
        model=arguments.model,
        key=arguments.key,
        delay=arguments.delay,
        seed=arguments.seed,
        can=_CLAIMS - set(arguments.cannot),
        refuses=frozenset(arguments.refuse),
        silent_after=arguments.silent_after,
        faults=FaultOptions(
            retry_after=arguments.retry_after, drip_seconds=arguments.drip_seconds, rates=rates
        ),
    )


async def _main(arguments: argparse.Namespace) -> None:
    async with serve(_options(arguments), port=arguments.port, socket=arguments.uds) as stub:
        sys.stdout.write(f"{stub.url or arguments.uds}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def main() -> None:
    """Serve until interrupted; the first line printed is where."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--uds", type=Path, help="a Unix socket instead of a port")
    parser.add_argument("--model", default="stub")
    parser.add_argument("--key", default="", help="key that calls have to bring")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds per call")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--fault", action="append", default=[], metavar="NAME=RATE", help=", ".join(FAULTS)
    )
    parser.add_argument("--retry-after", type=float, default=1.0)
    parser.add_argument("--drip-seconds", type=float, default=1.0)
    parser.add_argument("--refuse", action="append", default=[], metavar="PARAMETER")
    parser.add_argument("--cannot", action="append", default=[], choices=sorted(_CLAIMS))
    parser.add_argument("--silent-after", type=int, help="calls until it falls silent")
    asyncio.new_event_loop().run_until_complete(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
