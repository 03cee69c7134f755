"""What the entry point `endpoint` offers: a connection that is checked, probed and closed again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from evaluators.errors import BadModel
from evaluators.model import Json
from evaluators.runtimes.connection import Connection
from evaluators.runtimes.dialects.openai import OpenAiDialect
from evaluators.runtimes.endpoint.guard import EgressPolicy
from evaluators.runtimes.endpoint.options import EndpointOptions, read_options
from evaluators.runtimes.endpoint.probe import Findings, Probe
from evaluators.runtimes.endpoint.transport import EndpointTransport
from evaluators.runtimes.kinds import SERVED, Preflight, RuntimeKind
from evaluators.runtimes.spec import ModelSpec

_PROBE_SECONDS = 120.0
"""For one attempt of the probe, whose answers are short; loading a model may be part of it."""


class Line:
    """The life of a connection: there is no process of ours behind it."""

    def __init__(self, transport: EndpointTransport) -> None:
        self._transport = transport
        self._ended = asyncio.Event()

    @property
    def pid(self) -> None:
        """No process is ours."""
        return

    def alive(self) -> bool:
        """Tell whether the connection has not been given up."""
        return not self._ended.is_set()

    async def kill(self) -> None:
        """Give the connection up; calls in flight fail."""
        self._ended.set()
        await self._transport.close()

    async def last_words(self, *, within: float) -> None:
        """Say nothing: each call that fails has the server's own reason."""

    async def wait(self) -> int:
        """Wait until the connection has been given up."""
        await self._ended.wait()
        return 0


@asynccontextmanager
async def connect(
    spec: ModelSpec, secret: str | None, policy: EgressPolicy
) -> AsyncIterator[Connection]:
    """Connect to an endpoint, find out what it can do, and close the connection at the end.

    Raises:
        BadModel: The URL, the key or the model is refused, or it cannot be used here.
        RuntimeUnavailable: It does not answer well.
    """
    options = read_options(spec)
    key = _key(options, secret, policy)
    concurrency = options.num_concurrent or spec.batch_size
    shorter = options.model_copy(update={"timeout": min(options.timeout, _PROBE_SECONDS)})
    async with (
        _transport(shorter, key, policy, concurrency) as careful,
        _transport(options, key, policy, concurrency) as transport,
    ):
        probe = Probe(careful, shorter)
        findings = await probe.run()
        dialect = OpenAiDialect(
            transport,
            options.model,
            abilities=findings.abilities,
            canary=lambda: probe.canary(findings.abilities),
        )
        facts = _facts(spec, findings, concurrency=concurrency)
        yield Connection(Line(transport), dialect, facts)


@asynccontextmanager
async def _transport(
    options: EndpointOptions, key: str | None, policy: EgressPolicy, concurrency: int
) -> AsyncIterator[EndpointTransport]:
    transport = EndpointTransport(options, secret=key, policy=policy, concurrency=concurrency)
    try:
        yield transport
    finally:
        await transport.close()


def _key(options: EndpointOptions, secret: str | None, policy: EgressPolicy) -> str | None:
    """Return the key: the one given, or on the command line the one in the environment.

    A server never looks there: its own environment is nothing to send to a user's endpoint.

    Raises:
        BadModel: A variable was named and is empty.
    """
    if secret or policy.guard:
        return secret
    found = os.environ.get(options.api_key_env)
    if not found and "api_key_env" in options.model_fields_set:
        reason = (
            f"its key should be in the environment variable {options.api_key_env}, which is empty"
        )
        raise BadModel(model=options.model, reason=reason)
    return found


def _facts(spec: ModelSpec, findings: Findings, *, concurrency: int) -> Mapping[str, Any]:
    fingerprint = findings.system_fingerprint
    return {
        "label": spec.label,
        "context_window": findings.context_window,
        "capabilities": sorted(findings.capabilities),
        "has_chat_template": findings.abilities.chat,
        "chat_template_sha256": None,
        "dtype": None,
        "device": None,
        "parameters": None,
        "batch_size": concurrency,
        "exact_usage": findings.counts_tokens,
        "versions": {"system_fingerprint": fingerprint} if fingerprint else {},
        "stable": False,
        "notes": dict(findings.notes),
    }


def _check(spec: ModelSpec) -> Preflight:
    options = read_options(spec)
    return Preflight(
        label=spec.label,
        has_chat_template=options.api == "chat",
        context_window=options.context_window,
    )


def _identity(spec: ModelSpec) -> Mapping[str, Json]:
    """Return what tells one endpoint from another: who answers, as what, and how it is asked."""
    options = read_options(spec)
    return {
        "base_url": options.base_url,
        "model": options.model,
        "api": options.api,
        "omit": sorted(options.omit),
    }


runtime = RuntimeKind(
    name="endpoint",
    summary="Any OpenAI-compatible URL: base_url=https://host/v1,model=NAME.",
    connect=connect,
    check=_check,
    offers=lambda spec: SERVED,
    identity=_identity,
)
"""What the entry point `endpoint` offers."""
