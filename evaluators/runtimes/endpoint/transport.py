"""Calls to somebody's server: bounded in number, time and size, patient, and under guard."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, NoReturn

import aiohttp
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)
from yarl import URL

from evaluators.errors import BadModel, CallRefused, RuntimeUnavailable
from evaluators.runtimes.client import Answer, Read, T, decode, lean_session, sendable, words_of
from evaluators.runtimes.endpoint.guard import CONNECT_SECONDS, AddressDenied, EgressPolicy
from evaluators.runtimes.endpoint.options import EndpointOptions
from evaluators.runtimes.refusals import refusal

MAX_BODY = 8 * 1024 * 1024
"""Bytes of an answer."""
MAX_HEADERS = 64 * 1024
"""Bytes of an answer's headers."""

_NAME_SECONDS = 15.0
"""For looking a name up and trying its addresses one after the other."""
_LONGEST_PAUSE = 60.0
_AGAIN = frozenset({408, 409, 425, 429})
_FORBIDDEN = frozenset({401, 402, 403, 404, 410})


class Transient(RuntimeUnavailable):
    """It may go well the next time.

    Args (as data): reason, wait (seconds that the server asks for).
    """

    @property
    def wait(self) -> float:
        """Seconds that the server asks for; 0 when it does not."""
        seconds = self.data.get("wait")
        return seconds if isinstance(seconds, float) else 0.0


class Forbidden(CallRefused):
    """The key, or the model, is not accepted; or this very request is not.

    Args (as data): status, reason.
    """


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    data: bytes | None
    until: float
    """When the last attempt has to end, by the monotonic clock."""


class EndpointTransport:
    """Talks to one endpoint; everything that leaves for a URL leaves here.

    Args:
        options: Where to, and how patiently.
        secret: Its key, which goes into a header and nowhere else.
        policy: What may be called.
        concurrency: Most calls in flight; one that waits for another attempt counts as well, so
            that an endpoint out of breath gets some air.

    Raises:
        BadModel: The URL may not be called, or the key fits into no header.
    """

    def __init__(
        self,
        options: EndpointOptions,
        *,
        secret: str | None,
        policy: EgressPolicy,
        concurrency: int,
    ) -> None:
        if refusal := policy.refusal(options.base_url):
            reason = f"its URL is refused: {refusal}"
            raise BadModel(model=options.model, reason=reason, denied=True)
        url = URL(options.base_url)
        self._options = options
        self._base = str(url).rstrip("/")
        self._host = str(url.host)
        self._secret = (secret or "").encode()
        self._slots = asyncio.Semaphore(concurrency)
        self._pause = wait_random_exponential(multiplier=options.backoff, max=_LONGEST_PAUSE)
        self._session = lean_session(
            policy.connector(url),
            headers=_headers(options.model, secret),
            timeout=aiohttp.ClientTimeout(),
        )

    async def close(self) -> None:
        """Give the connections back."""
        await self._session.close()

    async def call(
        self, path: str, body: Mapping[str, Any] | None, *, read: Read[T], method: str = "POST"
    ) -> T:
        """Send a request until it is answered well, and return what the answer means.

        Args:
            path: What stands behind the base URL.
            body: The JSON to send.
            read: Reads the answer; what it finds unreadable is asked for again.
            method: GET or POST.

        Raises:
            CallRefused: The endpoint will never serve this request.
            Forbidden: It refuses the key, the model or what the request says.
            BadModel: It may not be connected to.
            RuntimeUnavailable: It did not answer well, however often it was asked.
        """
        options = self._options
        raw = None if body is None else json.dumps(body).encode()
        async with self._slots:
            until = time.monotonic() + options.deadline
            request = _Request(method, self._base + path, raw, until)
            try:
                return await self._attempt(request, read)
            except Transient as error:
                return await self._again(error, request, read)

    async def _again(self, first: Transient, request: _Request, read: Read[T]) -> T:
        """Go on after a first attempt that failed; most calls never need this machinery."""
        failed = iter([first])

        async def attempt() -> T:
            for error in failed:  # counts as the first attempt
                raise error
            return await self._attempt(request, read)

        left = max(0.0, request.until - time.monotonic())
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(Transient),
            stop=stop_after_attempt(self._options.max_retries + 1) | stop_before_delay(left),
            wait=self._wait,
            reraise=True,
        )
        try:
            return await attempts(attempt)
        except Transient as error:
            raise self._given_up(error, attempts) from error

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.wait if isinstance(error, Transient) else 0.0
        # The jitter comes on top: what was refused together must not come back together.
        return asked + self._pause(state)

    def _given_up(self, error: Transient, attempts: AsyncRetrying) -> RuntimeUnavailable:
        count = attempts.statistics.get("attempt_number", 1)
        asked = f", and it asks to wait {error.wait:.0f} s" if error.wait else ""
        times = "once" if count == 1 else f"{count} times"
        return RuntimeUnavailable(reason=f"{error.data['reason']} (tried {times}{asked})")

    async def _attempt(self, request: _Request, read: Read[T]) -> T:
        limit = max(0.001, min(self._options.timeout, request.until - time.monotonic()))
        try:
            status, headers, raw = await self._exchange(request, limit)
        except (TimeoutError, aiohttp.ClientError, OSError, RuntimeError) as error:
            fault = self._fault(error, limit)
        else:
            if self._secret and self._secret in raw:
                raw = raw.replace(self._secret, b"[key]")
            return _meaning(status, headers, raw, read)
        # Raised here, not in the handler: aiohttp's errors hold the headers of the request.
        raise fault

    async def _exchange(
        self, request: _Request, limit: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        timeout = aiohttp.ClientTimeout(
            total=limit, connect=_NAME_SECONDS, sock_connect=CONNECT_SECONDS
        )
        async with self._session.request(
            request.method,
            request.url,
            data=sendable(request.data),
            allow_redirects=False,
            timeout=timeout,
        ) as response:
            _check_head(response)
            return response.status, response.headers, await self._body(response)

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        """Read a body of bounded size that does not stall."""
        if (response.content_length or 0) > MAX_BODY:
            raise Transient(reason=f"the answer has more than {MAX_BODY} bytes")
        if response.content.is_eof():  # all of it came with the headers: the usual case
            return response.content.read_nowait()
        chunks: list[bytes] = []
        size = 0
        while True:
            try:
                async with asyncio.timeout(self._options.idle_timeout) as idle:
                    chunk = await response.content.readany()
            except TimeoutError as error:
                if not idle.expired():  # the whole call has taken too long
                    raise
                silent = f"{self._options.idle_timeout:g} s of silence within the answer"
                raise Transient(reason=silent) from error
            if not chunk:
                return b"".join(chunks)
            size += len(chunk)
            if size > MAX_BODY:
                raise Transient(reason=f"the answer has more than {MAX_BODY} bytes")
            chunks.append(chunk)

    def _fault(self, error: Exception, limit: float) -> Exception:
        """Return what a failure on the way means to us."""
        permanent = partial(BadModel, model=self._options.model)
        match error:
            case aiohttp.ClientConnectorError(os_error=AddressDenied() as denied):
                return permanent(reason=f"its URL is refused: {denied}", denied=True)
            case aiohttp.ClientConnectorCertificateError(certificate_error=problem):
                return permanent(reason=f"the certificate of {self._host} is bad: {problem}")
            case RuntimeError():  # aiohttp's way of saying that the session is closed
                return RuntimeUnavailable(reason="the connection has been closed")
            case aiohttp.ConnectionTimeoutError():
                reason = f"cannot connect to {self._host} in time"
            case aiohttp.ClientConnectorError(os_error=problem):
                reason = f"cannot connect to {self._host}: {_named(problem)}"
            case TimeoutError():
                reason = f"no whole answer within {limit:g} s"
            case _:
                reason = f"the connection broke: {_named(error)}"
        return Transient(reason=reason)


def _headers(model: str, secret: str | None) -> dict[str, str]:
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "User-Agent": "redraft",
    }
    if secret:
        if not (secret.isascii() and secret.isprintable()) or " " in secret:
            raise BadModel(model=model, reason="its key holds characters that no key has")
        headers["Authorization"] = f"Bearer {secret}"
    return headers


def _check_head(response: aiohttp.ClientResponse) -> None:
    # aiohttp bounds each header, so that eight cannot be too long together.
    raw = response.raw_headers
    if len(raw) > 8 and sum(len(name) + len(value) for name, value in raw) > MAX_HEADERS:
        raise Transient(reason=f"the answer's headers have more than {MAX_HEADERS} bytes")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise Transient(reason="the answer is packed, which nobody asked for")


def _meaning(status: int, headers: Mapping[str, str], raw: bytes, read: Read[T]) -> T:
    if status != 200:
        _refuse(status, raw, headers=headers)
    try:
        return read(_checked(raw, headers))
    except RuntimeUnavailable as error:
        raise Transient(**error.data) from error


def _refuse(status: int, raw: bytes, *, headers: Mapping[str, str]) -> NoReturn:
    """Raise what a status other than 200 means."""
    told = words_of(raw)
    reason = f"HTTP {status}: {told}" if told else f"HTTP {status}"
    if status in _FORBIDDEN:
        raise Forbidden(status=status, reason=reason)
    if status in _AGAIN or status >= 500:
        raise Transient(reason=reason, wait=_retry_after(headers.get("Retry-After", "")))
    if 300 <= status < 400:
        place = headers.get("Location", "nowhere")[:200]
        reason = f"HTTP {status}: it redirects to {place!r}, and redirects are not followed"
        raise RuntimeUnavailable(reason=reason)
    if status >= 400:
        raise refusal(status, reason)
    raise Transient(reason=f"HTTP {status} is no answer")


def _retry_after(value: str) -> float:
    """Return the seconds that a Retry-After asks for, given as a number or as a date."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
            seconds = (date.astimezone(UTC) - datetime.now(UTC)).total_seconds()
        except (ValueError, OverflowError):
            return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


def _checked(raw: bytes, headers: Mapping[str, str]) -> Answer:
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise Transient(reason=f"the answer is {kind or 'of no type'}, not JSON: {words_of(raw)}")
    return decode(raw)


def _named(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
