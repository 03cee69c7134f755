"""What every call to a served model has in common, and the way to our own children."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import aiohttp

from evaluators.errors import RuntimeUnavailable
from evaluators.runtimes.refusals import refusal

T = TypeVar("T")
Answer = Mapping[str, Any]
"""The JSON object that a server answered with."""

Read = Callable[[Answer], T]
"""Makes of an answer what it means, or raises RuntimeUnavailable when it means nothing."""

_COPIED = 1 << 20
"""Bytes from which aiohttp wants a stream, because it would have to copy a body at once."""

_WORDS = 300
"""Characters of a server's own words that are repeated to people."""

_HEADERS = {"Content-Type": "application/json"}


class Transport:
    """Talks JSON to one server of ours on a Unix socket."""

    def __init__(self, socket: Path) -> None:
        self._session = lean_session(
            aiohttp.UnixConnector(str(socket), limit=0),
            headers=_HEADERS,
            # A long batch is no fault: deadlines belong to the engine.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=30.0),
        )

    async def close(self) -> None:
        """Give the connections back."""
        await self._session.close()

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Send a request and return the JSON object that answers it.

        Raises:
            CallRefused: The server refuses it with a status of 400 to 499.
            RuntimeUnavailable: The server is gone, broken or says no JSON object.
        """
        url, data = f"http://runtime{path}", None if body is None else json.dumps(body).encode()
        try:
            async with self._session.request(method, url, data=sendable(data)) as response:
                status, raw = response.status, await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            reason = f"the runtime does not answer: {type(error).__name__}: {error}"
            raise RuntimeUnavailable(reason=reason) from error
        except RuntimeError as error:  # aiohttp's way of saying that the session is closed
            raise RuntimeUnavailable(reason=f"the runtime has been stopped: {error}") from error
        if 400 <= status < 500:
            raise refusal(status, words_of(raw))
        if status >= 500:
            raise RuntimeUnavailable(reason=f"HTTP {status}: {words_of(raw)}")
        return decode(raw)


def lean_session(
    connector: aiohttp.BaseConnector, *, headers: Mapping[str, str], timeout: aiohttp.ClientTimeout
) -> aiohttp.ClientSession:
    """Return a session without what costs time on every call and serves nobody here."""
    return aiohttp.ClientSession(
        connector=connector,
        headers=headers,
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,  # what is not unpacked cannot be a bomb; nobody is asked to pack
        skip_auto_headers=("User-Agent", "Accept-Encoding"),
        trust_env=False,
    )


def sendable(raw: bytes | None) -> bytes | io.BytesIO | None:
    """Return a body as aiohttp takes it without a copy; good for sending once."""
    return io.BytesIO(raw) if raw is not None and len(raw) >= _COPIED else raw


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


_parse = json.JSONDecoder(parse_constant=_no_number).decode


def decode(raw: bytes) -> Answer:
    """Return the JSON object; NaN and infinity are not JSON.

    Raises:
        RuntimeUnavailable: The bytes are something else.
    """
    try:
        value = _parse(raw.decode())
    except (ValueError, RecursionError) as error:
        told = "nested too deeply" if isinstance(error, RecursionError) else _one_line(str(error))
        raise RuntimeUnavailable(reason=f"the answer is not JSON ({told}): {raw[:100]!r}") from None
    if not isinstance(value, dict):
        raise RuntimeUnavailable(reason=f"the answer is not a JSON object: {raw[:100]!r}")
    return value


def words_of(raw: bytes) -> str:
    """Return what a server says went wrong, in one line, wherever it puts it."""
    try:
        found: object = json.loads(raw)
    except (ValueError, RecursionError):
        found = None
    for name in ("error", "message", "detail"):
        inner = found.get(name) if isinstance(found, dict) else None
        found = inner if isinstance(inner, dict | str | list) else found
    text = found if isinstance(found, str) else raw[: 4 * _WORDS].decode("utf-8", "replace")
    return _one_line(text)


def _one_line(text: str) -> str:
    shown = "".join(c if c.isprintable() else " " for c in text[: 4 * _WORDS])
    return " ".join(shown.split())[:_WORDS]
