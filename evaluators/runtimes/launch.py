"""Start a model, use it, stop it: the door from the engine to a runtime."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from evaluators.errors import RuntimeUnavailable
from evaluators.model import ChatRequest, Completion, Json, LikelihoodRequest, Likelihoods
from evaluators.runtimes import gpu
from evaluators.runtimes.client import Transport
from evaluators.runtimes.connection import Connection, Life
from evaluators.runtimes.dialects import Dialect, dialect_of
from evaluators.runtimes.endpoint.guard import EgressPolicy
from evaluators.runtimes.isolation import Isolation
from evaluators.runtimes.kinds import RuntimeKind, runtime_kind
from evaluators.runtimes.spec import ModelSpec, stable_json
from evaluators.runtimes.start import Terms, start_child
from evaluators.runtimes.wire import UNKNOWN

T = TypeVar("T", Completion, Likelihoods)

START_TIMEOUT = 900.0
"""Seconds that a model may take to load."""

_SOCKET_LIMIT = 100
"""Bytes of a socket's path; the kernel allows 107."""

_LAST_WORDS = 5.0
"""Seconds in which a runtime whose call failed is waited for, to say what it dies of."""

_GPUS = "CUDA_VISIBLE_DEVICES"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known of a running model."""

    label: str
    """Name for people."""
    context_window: int
    """Most tokens that prompt and completion may have together."""
    capabilities: frozenset[str]
    has_chat_template: bool
    chat_template_sha256: str | None
    dtype: str | None
    device: str | None
    parameters: int | None
    """Number of weights."""
    batch_size: int
    """Most rows in flight."""
    isolation: Isolation
    exact_usage: bool
    """False when token counts are estimates or zero."""
    versions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Versions of the libraries that made the text."""
    identity: Mapping[str, Json] = field(default_factory=lambda: MappingProxyType({}))
    """Commit, or names and sha256 of the model's files."""
    stable: bool = True
    """False for somebody else's endpoint: what it serves may change without notice."""
    notes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Why capabilities are lacking, by their names, where something was tried in vain."""
    ladder: tuple[Mapping[str, Json], ...] = ()
    """What had to be lowered for want of memory: argument, before, after, reason."""


class RunningModel:
    """A served model; implements `evaluators.ports.Model`."""

    def __init__(self, life: Life, dialect: Dialect, *, info: ModelInfo, fingerprint: str) -> None:
        self._life = life
        self._dialect = dialect
        self.info = info
        self.fingerprint = fingerprint
        self.dirty: tuple[gpu.Dirty, ...] = ()
        """GPUs whose memory had not come back a minute after the end; known only then."""

    @property
    def capabilities(self) -> frozenset[str]:
        """What the runtime can do."""
        return self.info.capabilities

    @property
    def context_window(self) -> int:
        """Most tokens that prompt and completion may have together."""
        return self.info.context_window

    @property
    def pid(self) -> int | None:
        """Process id of the child, which leads its process group; None for an endpoint."""
        return self._life.pid

    def alive(self) -> bool:
        """Tell whether the runtime has not been seen to end."""
        return self._life.alive()

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer one request; cancelling frees the row in the runtime.

        Raises:
            CallRefused: The runtime will never serve this request.
            RuntimeUnavailable: The runtime is dead or broken.
        """
        try:
            return self._noted(await self._dialect.complete(request))
        except RuntimeUnavailable as error:
            await self._explain(error)
            raise

    async def likelihood(self, request: LikelihoodRequest) -> Likelihoods:
        """Tell how likely each choice is as the next text.

        Raises:
            CallRefused: The runtime cannot tell, or a label is not one token.
            RuntimeUnavailable: The runtime is dead or broken.
        """
        try:
            return self._noted(await self._dialect.likelihood(request))
        except RuntimeUnavailable as error:
            await self._explain(error)
            raise

    async def _explain(self, error: RuntimeUnavailable) -> None:
        """Raise the reason that the runtime dies of, where it does: a call seldom knows it."""
        words = await self._life.last_words(within=_LAST_WORDS)
        if words is not None:
            raise RuntimeUnavailable(reason=words) from error

    def _noted(self, answered: T) -> T:
        """Take note of an answer without token counts: from then on they are no longer exact."""
        if answered.usage is UNKNOWN and self.info.exact_usage:
            self.info = replace(self.info, exact_usage=False)
        return answered

    async def kill(self) -> None:
        """Kill the child and everything in its group, and reap it."""
        await self._life.kill()

    async def wait_dead(self) -> int:
        """Wait until the runtime has ended; return its exit status, negative for a signal."""
        return await self._life.wait()


@asynccontextmanager
async def open_runtime(
    spec: ModelSpec,
    *,
    log_path: Path | None = None,
    socket_dir: Path | None = None,
    start_timeout: float = START_TIMEOUT,
    secret: str | None = None,
    policy: EgressPolicy | None = None,
    environment: Mapping[str, str] | None = None,
    needed_tokens: int | None = None,
    gpus: gpu.Reader = gpu.read_devices,
) -> AsyncIterator[RunningModel]:
    """Run the model in a child process, or connect to its endpoint, until the block is left.

    Args:
        log_path: Where the child's own words go; a file that is deleted at the end when None.
        socket_dir: Folder for the private folder of the socket; its path must be short.
        start_timeout: Seconds that loading may take.
        secret: Key of an endpoint. It goes into request headers and nowhere else.
        policy: What an endpoint may be; public addresses over https when None.
        environment: Variables of the child beside those it inherits: the GPUs it may see, say.
        needed_tokens: Most tokens that a prompt and its completion will have together: where memory
            is short, the context window is lowered to this. None when unknown.
        gpus: Looks at the machine's GPUs, whose memory has to be free again afterwards.

    Raises:
        BadModel: The model cannot be served, with the reason in words.
        OutOfResources: There is too little memory for it, with the numbers.
        RuntimeUnavailable: The child died or was not ready in time.
    """
    kind = runtime_kind(spec.runtime)
    await asyncio.to_thread(kind.check, spec)
    if kind.connect is not None:
        connecting = kind.connect(spec, secret, policy or EgressPolicy.guarded())
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(start_timeout):
                    connection = await stack.enter_async_context(connecting)
            except TimeoutError as error:
                reason = f"the endpoint was not ready after {start_timeout:g} s"
                raise RuntimeUnavailable(reason=reason) from error
            yield _running(spec, connection, isolation="none", identity=kind.identity(spec))
        return
    folder = _private_folder(socket_dir)
    terms = Terms(
        socket=folder / "s",
        log=log_path or folder / "log",
        timeout=start_timeout,
        environment=environment or {},
        needed_tokens=needed_tokens,
    )
    try:
        async with _child(kind, spec, terms, gpus=gpus) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def _child(
    kind: RuntimeKind, spec: ModelSpec, terms: Terms, *, gpus: gpu.Reader
) -> AsyncIterator[RunningModel]:
    """Serve the model in a child, and see the GPUs' memory come back when it has ended."""
    seen = terms.environment.get(_GPUS, os.environ.get(_GPUS))
    baseline = gpu.visible(await asyncio.to_thread(gpus), seen)
    started = await start_child(kind, spec, terms)
    running: RunningModel | None = None
    try:
        identity = await asyncio.to_thread(kind.identity, started.spec)
        transport = Transport(terms.socket)
        try:
            dialect = dialect_of(started.facts, transport)
            served = Connection(started.child, dialect, started.facts)
            running = _running(started.spec, served, isolation=started.isolation, identity=identity)
            ladder = tuple(rung.to_json() for rung in started.ladder)
            running.info = replace(running.info, ladder=ladder)
            yield running
        finally:
            await transport.close()
    finally:
        await started.child.kill()
        dirty = await gpu.settle(baseline, reader=gpus)
        if dirty:
            _log.error("GPU memory did not come back after %s: %s", spec.label, dirty)
        if running is not None:
            running.dirty = dirty


def _running(
    spec: ModelSpec,
    connection: Connection,
    *,
    isolation: Isolation,
    identity: Mapping[str, Json],
) -> RunningModel:
    info = _info(connection.facts, isolation=isolation, identity=identity)
    fingerprint = _fingerprint(spec, info)
    return RunningModel(connection.life, connection.dialect, info=info, fingerprint=fingerprint)


def _private_folder(parent: Path | None) -> Path:
    """Make a folder that only we may enter (mode 0700), with room for a socket's short path."""
    folder = Path(tempfile.mkdtemp(prefix="redraft-", dir=parent))
    if len(bytes(folder / "s")) < _SOCKET_LIMIT:
        return folder
    folder.rmdir()
    if parent is not None:
        raise RuntimeUnavailable(reason=f"the path of a socket in {parent} would be too long")
    return Path(tempfile.mkdtemp(prefix="redraft-", dir="/tmp"))


def _info(
    facts: Mapping[str, Any], *, isolation: Isolation, identity: Mapping[str, Json]
) -> ModelInfo:
    return ModelInfo(
        label=facts["label"],
        context_window=facts["context_window"],
        capabilities=frozenset(facts["capabilities"]),
        has_chat_template=facts["has_chat_template"],
        chat_template_sha256=facts["chat_template_sha256"],
        dtype=facts["dtype"],
        device=facts["device"],
        parameters=facts["parameters"],
        batch_size=facts["batch_size"],
        isolation=isolation,
        exact_usage=facts["exact_usage"],
        versions=facts["versions"],
        identity=identity,
        stable=facts.get("stable", True),
        notes=facts.get("notes", {}),
    )


def _fingerprint(spec: ModelSpec, info: ModelInfo) -> str:
    """Hash everything that may change a text, and nothing that only changes speed or place."""
    parts = {
        "runtime": spec.runtime,
        "model": spec.model,
        "identity": dict(info.identity),
        "versions": dict(info.versions),
        "dtype": info.dtype,
        "chat_template": info.chat_template_sha256,
        "context_window": info.context_window,
    }
    return hashlib.sha256(stable_json(parts).encode()).hexdigest()
