"""An OpenAI-compatible server without a model: what is left is the cost of the asking side.

    python tests/benchmarks/instant_server.py [--seconds 0.5] [--log]

Prints the port of its TCP socket when it listens. The answer to a chat is a function of its last
message, so that every client gets the same text. It comes at once, or after a time that is a
function of the chat as well, `--seconds` on average. With `--log`, `GET /v1/log` tells what was
asked. Requests are read off the protocol directly, because a web framework would cost more than the
clients that are measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import zlib
from typing import Any

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_MODELS = {"object": "list", "data": [{"id": "instant", "object": "model"}]}
_USAGE = {"prompt_tokens": 40, "completion_tokens": 5, "total_tokens": 45}


def answer_to(content: str) -> str:
    """Return a number that depends on the question, as the bundled tasks want it written."""
    return f"Answer: {zlib.crc32(content.encode()) % 10}"


def seconds_for(content: str, average: float) -> float:
    """Return how long the answer to a question takes: half to one and a half times the average."""
    return average * (0.5 + zlib.crc32(content.encode()[::-1]) / 2**32)


class Answers:
    """What the server says, and what it remembers."""

    def __init__(self, seconds: float, *, log: bool) -> None:
        self._seconds = seconds
        self._log: list[Any] | None = [] if log else None

    def to(self, path: bytes, body: bytes) -> tuple[Any, float]:
        """Return the answer, and after how many seconds it is due."""
        if path.endswith(b"/log"):
            return self._log, 0.0
        if not path.endswith(b"/chat/completions"):
            return _MODELS, 0.0
        asked = json.loads(body)
        if self._log is not None:
            self._log.append(asked)
        content = asked["messages"][-1]["content"]
        if not isinstance(content, str):
            content = "".join(part["text"] for part in content)
        return _completion(content), seconds_for(content, self._seconds)


class _Connection(asyncio.Protocol):
    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._pending = b""

    def data_received(self, data: bytes) -> None:
        self._pending += data
        while (end := self._pending.find(b"\r\n\r\n")) >= 0:
            length = int(_field(self._pending[:end].lower(), b"content-length:") or 0)
            if len(self._pending) < end + 4 + length:
                return
            path = self._pending.split(b" ", 2)[1]
            body = self._pending[end + 4 : end + 4 + length]
            self._pending = self._pending[end + 4 + length :]
            self._answer(*self._answers.to(path, body))

    def _answer(self, value: Any, delay: float) -> None:
        reply = json.dumps(value).encode()
        whole = _HEAD % len(reply) + reply
        if delay:
            asyncio.get_running_loop().call_later(delay, self._transport.write, whole)
        else:
            self._transport.write(whole)


def _field(head: bytes, name: bytes) -> bytes | None:
    start = head.find(b"\r\n" + name)
    return None if start < 0 else head[start + 2 + len(name) :].split(b"\r\n", 1)[0].strip()


def _completion(content: str) -> Any:
    message = {"role": "assistant", "content": answer_to(content)}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return {
        "id": "instant",
        "object": "chat.completion",
        "created": 0,
        "model": "instant",
        "choices": [choice],
        "usage": _USAGE,
    }


async def serve(answers: Answers) -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(answers), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--seconds", type=float, default=0.0)
    options.add_argument("--log", action="store_true")
    given = options.parse_args()
    asyncio.run(serve(Answers(given.seconds, log=given.log)))
