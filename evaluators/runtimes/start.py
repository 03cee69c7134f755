"""Start a runtime's child process, with less where memory does not allow what was asked for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evaluators.errors import BadModel, OutOfResources
from evaluators.runtimes.isolation import Isolation, child_environment, confine
from evaluators.runtimes.kinds import RuntimeKind
from evaluators.runtimes.ladder import Rung, next_rung
from evaluators.runtimes.process import Child
from evaluators.runtimes.spec import ModelSpec

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Started:
    """A child that serves."""

    child: Child
    facts: Mapping[str, Any]
    """What it says of itself."""
    isolation: Isolation
    spec: ModelSpec
    """What it serves, with the arguments that memory allowed."""
    ladder: tuple[Rung, ...] = ()
    """What had to be changed for that."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a child is started."""

    socket: Path
    log: Path
    timeout: float
    """Seconds that loading may take."""
    environment: Mapping[str, str]
    """Variables beside those that it inherits."""
    needed_tokens: int | None = None
    """Most tokens that a prompt and its completion will have; None when unknown."""


async def start_child(kind: RuntimeKind, spec: ModelSpec, terms: Terms) -> Started:
    """Start the child and wait until it serves, changing the arguments rung by rung at most twice.

    Raises:
        OutOfResources: Memory does not suffice; `ladder` says what was tried.
        BadModel: The model cannot be served for another reason.
        RuntimeUnavailable: The child died or was not ready in time.
    """
    ladder: tuple[Rung, ...] = ()
    while True:
        try:
            started = await _start(kind, spec, terms)
        except OutOfResources as error:
            args = kind.memory(spec) if kind.memory else {}
            rung = next_rung(args, error, needed_tokens=terms.needed_tokens, taken=ladder)
            if rung is None:
                tried = [dict(rung.to_json()) for rung in ladder]
                raise OutOfResources(**{**error.data, "ladder": tried}) from error
            ladder = (*ladder, rung)
            spec = replace(spec, args={**spec.args, rung.argument: rung.after})
        else:
            return replace(started, ladder=ladder)


async def _start(kind: RuntimeKind, spec: ModelSpec, terms: Terms) -> Started:
    terms.socket.unlink(missing_ok=True)
    command, isolation = await asyncio.to_thread(_confined, kind, spec, terms.socket)
    if isolation == "process_group":
        _log.warning("bubblewrap does not work here: the model runs unconfined")
    env = {**child_environment(kind.environment(spec)), **terms.environment}
    child = await Child.start(command, env=env, log=terms.log)
    try:
        facts = await child.ready(label=spec.label, timeout=terms.timeout)
    except BaseException:
        await child.kill()
        raise
    return Started(child, facts, isolation, spec)


def _confined(kind: RuntimeKind, spec: ModelSpec, socket: Path) -> tuple[list[str], Isolation]:
    if kind.command is None:
        reason = f"the runtime {kind.name} says neither how to start nor how to connect"
        raise BadModel(model=spec.label, reason=reason)
    return confine(
        kind.command(spec, socket),
        network=kind.network(spec),
        writable=[socket.parent, *kind.writes(spec)],
        readable=kind.reads(spec),
    )
