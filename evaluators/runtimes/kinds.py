"""Which runtimes are installed, and what a runtime has to tell about itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from evaluators import entry_points
from evaluators.model import CAPABILITIES, Json
from evaluators.runtimes.connection import Connection
from evaluators.runtimes.endpoint.guard import EgressPolicy
from evaluators.runtimes.spec import ModelSpec

SERVED = frozenset(CAPABILITIES) - {"full_vocab_stats"}
"""The most that a server of the OpenAI protocol can do: it never tells of the whole vocabulary."""

GROUP = "redraft.runtimes"
"""Entry-point group whose objects are `RuntimeKind`s."""


@dataclass(frozen=True, slots=True)
class Preflight:
    """What can be known of a model before anything is started."""

    label: str
    """Name for people."""
    has_chat_template: bool | None = None
    """None when only the running model can tell."""
    architecture: str | None = None
    """Name of the model class, or the GGUF architecture."""
    parameters: int | None = None
    """Number of weights, where the files tell it cheaply."""
    size_bytes: int | None = None
    """Size of the weight files."""
    context_window: int | None = None
    """What the configuration promises, in tokens."""
    path: Path | None = None
    """Folder that the files are read from."""
    commit: str | None = None
    """Commit on the Hub, for a downloaded repository."""


def _label_only(spec: ModelSpec) -> Preflight:
    return Preflight(label=spec.label)


def _no_files(spec: ModelSpec) -> Mapping[str, Json]:
    return {"args": dict(spec.args)}


Connect: TypeAlias = Callable[
    [ModelSpec, str | None, EgressPolicy], AbstractAsyncContextManager[Connection]
]
"""Takes the model, the key of its endpoint, if it has one, and what may be called."""


@dataclass(frozen=True, slots=True)
class RuntimeKind:
    """One way of running models; installed packages offer objects of this type."""

    name: str
    """Equal to the name of its entry point."""
    summary: str
    """One line for people."""
    command: Callable[[ModelSpec, Path], list[str]] | None = None
    """The command that serves the model on a Unix socket and speaks on standard output as
    `evaluators.runtimes.server.main` does; None where `connect` is given."""
    connect: Connect | None = None
    """Connects to a server that is not ours."""
    check: Callable[[ModelSpec], Preflight] = _label_only
    """Looks at the model without starting it; raises BadModel."""
    offers: Callable[[ModelSpec], frozenset[str] | None] = field(default=lambda spec: None)
    """Most that the model can do, as far as its specification tells: what is not among it is
    refused before anything starts. None when only the running model can tell."""
    identity: Callable[[ModelSpec], Mapping[str, Json]] = _no_files
    """What tells these weights from all others: a commit, or hashes of files."""
    network: Callable[[ModelSpec], bool] = field(default=lambda spec: False)
    """Whether the child has to reach the network."""
    environment: Callable[[ModelSpec], tuple[str, ...]] = field(default=lambda spec: ())
    """Further environment variables that the child may see."""
    reads: Callable[[ModelSpec], tuple[Path, ...]] = field(default=lambda spec: ())
    """Folders and files that the confined child must find, wherever they lie."""
    writes: Callable[[ModelSpec], tuple[Path, ...]] = field(default=lambda spec: ())
    """Existing folders that the confined child may change, beside that of its socket."""
    memory: Callable[[ModelSpec], Mapping[str, Json]] | None = None
    """The arguments in force that can be lowered where memory is short: `max_num_seqs`,
    `max_model_len`. None where nothing can be."""


def runtime_names() -> dict[str, str]:
    """Return the installed runtimes and their distributions, without importing them."""
    return {point.name: entry_points.distribution(point) for point in entry_points.offered(GROUP)}


def runtime_kind(name: str) -> RuntimeKind:
    """Import and return the runtime of that name.

    Raises:
        NotInstalled: There is none.
        AmbiguousName: Two distributions offer it.
        BrokenPlugin: It cannot be imported, or is no RuntimeKind.
    """
    point = entry_points.find(GROUP, name, kind="runtime")
    loaded = entry_points.load(point, kind="runtime")
    if not isinstance(loaded, RuntimeKind):
        raise entry_points.broken(point, f"{point.value} is not a RuntimeKind", kind="runtime")
    return loaded
