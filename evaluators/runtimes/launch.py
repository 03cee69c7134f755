"""Start a model, use it, stop it: the door from the engine to a runtime."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from evaluators.errors import RuntimeUnavailable
from evaluators.model import ChatRequest, Completion, Json
from evaluators.runtimes.client import Client
from evaluators.runtimes.isolation import Isolation, child_environment, confine
from evaluators.runtimes.kinds import RuntimeKind, runtime_kind
from evaluators.runtimes.process import Child
from evaluators.runtimes.spec import ModelSpec, stable_json

START_TIMEOUT = 900.0
"""Seconds that a model may take to load."""

_SOCKET_LIMIT = 100
"""Bytes of a socket's path; the kernel allows 107."""


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


class RunningModel:
    """A served model; implements `evaluators.ports.Model`."""

    def __init__(self, child: Child, client: Client, *, info: ModelInfo, fingerprint: str) -> None:
        self._child = child
        self._client = client
        self.info = info
        self.fingerprint = fingerprint

    @property
    def capabilities(self) -> frozenset[str]:
        """What the runtime can do."""
        return self.info.capabilities

    @property
    def context_window(self) -> int:
        """Most tokens that prompt and completion may have together."""
        return self.info.context_window

    @property
    def pid(self) -> int:
        """Process id of the child, which leads its process group."""
        return self._child.pid

    def alive(self) -> bool:
        """Tell whether the child has not been seen to end."""
        return self._child.alive()

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer one request; cancelling frees the row in the runtime.

        Raises:
            CallRefused: The runtime will never serve this request.
            RuntimeUnavailable: The runtime is dead or broken.
        """
        return await self._client.complete(request, chat="chat" in self.info.capabilities)

    async def kill(self) -> None:
        """Kill the child and everything in its group, and reap it."""
        await self._child.kill()

    async def wait_dead(self) -> int:
        """Wait until the child has ended; return its exit status, negative for a signal."""
        return await self._child.wait()


@asynccontextmanager
async def open_runtime(
    spec: ModelSpec,
    *,
    log_path: Path | None = None,
    socket_dir: Path | None = None,
    start_timeout: float = START_TIMEOUT,
) -> AsyncIterator[RunningModel]:
    """Run the model in a child process until the block is left.

    Args:
        log_path: Where the child's own words go; a file that is deleted at the end when None.
        socket_dir: Folder for the private folder of the socket; its path must be short.
        start_timeout: Seconds that loading may take.

    Raises:
        BadModel: The model cannot be served, with the reason in words.
        RuntimeUnavailable: The child died or was not ready in time.
    """
    kind = runtime_kind(spec.runtime)
    await asyncio.to_thread(kind.check, spec)
    identity = await asyncio.to_thread(kind.identity, spec)
    folder = _private_folder(socket_dir)
    try:
        socket = folder / "s"
        command, isolation = await asyncio.to_thread(_confined, kind, spec, socket)
        env = child_environment(kind.environment(spec))
        child = await Child.start(command, env=env, log=log_path or folder / "log")
        try:
            await child.ready(label=spec.label, timeout=start_timeout)
            client = Client(socket)
            try:
                facts = await client.health()
                info = _info(facts, isolation=isolation, identity=identity)
                fingerprint = _fingerprint(spec, info)
                yield RunningModel(child, client, info=info, fingerprint=fingerprint)
            finally:
                await client.close()
        finally:
            await child.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _confined(kind: RuntimeKind, spec: ModelSpec, socket: Path) -> tuple[list[str], Isolation]:
    return confine(
        kind.command(spec, socket),
        network=kind.network(spec),
        writable=[socket.parent, *kind.writes(spec)],
        readable=kind.reads(spec),
    )


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
