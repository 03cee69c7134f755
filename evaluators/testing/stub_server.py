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
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from evaluators.testing.stub_answers import Reply, reply_to, share
from evaluators.testing.stub_faults import FAULTS, FaultOptions, problem, spoil

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
    ignores: frozenset[str] = frozenset()
    """Of `logprobs`, `n` and `prefix` what it takes and does not do."""
    breaks: frozenset[str] = frozenset()
    """Parameters that it answers with 500."""
    forbids: str = ""
    """Word that no question may hold: such a request is answered with 403."""
    system_fingerprint: str | None = None
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
        self.most_at_once = 0
        """Most completions in flight at a time."""
        self._at_once = 0

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
        with self._counted():
            if not self._known(request):
                given = request.headers.get("Authorization", "nothing")
                return problem(401, f"Incorrect API key provided: {given}")
            if refused := _refusal(self.options, request.path, json.loads(raw)):
                return refused
            return await self._answered(request, raw)

    async def _answered(self, request: web.Request, raw: bytes) -> web.StreamResponse:
        looks, silent_after = self.options.faults, self.options.silent_after
        if silent_after is not None and self.calls > silent_after:
            return await spoil("hang", {}, request=request, options=looks)
        reply = self._reply(json.loads(raw))
        if fault := self._fault(request.path.encode() + raw):
            self.faulty[fault] += 1
            return await spoil(fault, reply, request=request, options=looks)
        await asyncio.sleep(self.options.delay)
        return web.json_response(reply)

    def _reply(self, body: Mapping[str, Any]) -> Reply:
        options = self.options
        dropped = {name for name in ("logprobs", "n") if name in options.ignores}
        asked = {name: value for name, value in body.items() if name not in dropped}
        reply = reply_to(asked, continues="prefix" in options.can - options.ignores)
        if options.system_fingerprint:
            reply["system_fingerprint"] = options.system_fingerprint
        if "usage" not in options.can:
            del reply["usage"]
        return reply

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            self._at_once -= 1

    def _fault(self, request: bytes) -> str | None:
        """Draw the fault that this call meets, if any."""
        digest = hashlib.sha256(request).hexdigest()
        count = self.seen[digest]
        self.seen[digest] += 1
        if count >= self.options.faults_in_a_row:
            return None
        drawn = share(f"{self.options.seed} {digest} {count}")
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
    """Return the answer to a request that is not served."""
    if body.get("model") != options.model:
        return problem(404, f"The model `{body.get('model')}` does not exist.")
    kind = "chat" if path.endswith("/chat/completions") else "completions"
    if kind not in options.can:
        return problem(404, "Not Found")
    if options.forbids and options.forbids in json.dumps(body):
        return problem(403, "flagged")
    for name in options.refuses & set(body):
        return problem(400, f"Unsupported parameter: '{name}' is not supported with this model.")
    if options.breaks & set(body):
        return problem(500, "out of order")
    return _unable(options, body)


def _unable(options: StubOptions, body: Mapping[str, Any]) -> web.Response | None:
    asked = {
        "logprobs": body.get("logprobs") not in {None, False},
        "n": body.get("n", 1) != 1,
        "echo": bool(body.get("echo")),
        "prefix": bool(body.get("continue_final_message")),
    }
    unable = {name for name, wanted in asked.items() if wanted} - options.can
    if unable:
        return problem(400, f"{min(unable)} is not supported")
    if (body.get("top_logprobs") or 0) > options.top_logprobs:
        return problem(400, f"top_logprobs must be at most {options.top_logprobs}")
    return None


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
