"""The one HTTP client of served models, and how its faults become our errors."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from evaluators.errors import CallRefused, RuntimeUnavailable


class Transport:
    """Talks JSON to one server on a Unix socket."""

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

    async def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """Send a request and return the JSON object that answers it.

        Raises:
            CallRefused: The server refuses it with a status of 400 to 499.
            RuntimeUnavailable: The server is gone, broken or says no JSON object.
        """
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
