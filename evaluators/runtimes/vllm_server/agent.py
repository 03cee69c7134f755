"""The life of one vLLM server: unpack, start, see tokens flow, say ready, and watch."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from evaluators.errors import CallError, RuntimeUnavailable
from evaluators.model import Json
from evaluators.runtimes.client import Transport
from evaluators.runtimes.vllm_server import probe
from evaluators.runtimes.vllm_server.engine import Engine, describe
from evaluators.runtimes.vllm_server.plan import Plan
from evaluators.runtimes.vllm_server.reasons import is_busy, reason_of, shortage_of

ENGINE_DIED = 5
"""Exit status of an agent whose engine has ended."""


class Failed(Exception):
    """The engine cannot serve; the event says why, as the parent reads it."""

    def __init__(self, event: Mapping[str, Json]) -> None:
        super().__init__(event)
        self.event = event


async def start(plan: Plan) -> tuple[Engine, dict[str, Json]]:
    """Start the engine and return it, with what it says of itself, once tokens flow.

    Raises:
        Failed: It ended, or nothing comes out of it.
    """
    env = {**os.environ, **plan.environment}
    if plan.unpack:
        await _unpack(plan, env)
    engine = await _started(plan.command, env)
    bringing = asyncio.create_task(_bring_up(plan))
    ending = asyncio.create_task(engine.ended())
    await asyncio.wait({bringing, ending}, return_when=asyncio.FIRST_COMPLETED)
    if not bringing.done():
        bringing.cancel()
        await asyncio.wait({bringing})
        raise Failed(obituary(engine, ending.result()))
    try:
        facts = bringing.result()
    except CallError as error:
        # A server that is about to die fails calls first, and then says why.
        await asyncio.wait({ending}, timeout=10.0)
        if ending.done():
            raise Failed(obituary(engine, ending.result())) from error
        raise Failed({"event": "unavailable", "reason": _words(error)}) from error
    return engine, facts


async def _bring_up(plan: Plan) -> dict[str, Json]:
    transport = Transport(Path(plan.socket))
    try:
        await probe.answers(transport)
        await probe.canary(transport)
        facts = await probe.facts_of(transport, plan)
    finally:
        await transport.close()
    return {**facts.wire(), "quantization": plan.quantization}


async def _unpack(plan: Plan, env: Mapping[str, str]) -> None:
    process = await _started(plan.unpack, env)
    status = await process.ended()
    if status:
        why = reason_of(process.lines) or describe(status)
        raise Failed({"event": "failed", "reason": f"the GGUF file cannot be unpacked: {why}"})


async def _started(command: tuple[str, ...], env: Mapping[str, str]) -> Engine:
    try:
        return await Engine.start(command, env=env)
    except OSError as error:
        reason = f"cannot start {command[0]}: {error.strerror or error}"
        raise Failed({"event": "failed", "reason": reason}) from error


def obituary(engine: Engine, status: int) -> dict[str, Json]:
    """Return the event for an engine that ended before it served."""
    reason = reason_of(engine.lines)
    if reason is None:
        how = describe(status)
        last = engine.lines[-1].strip() if engine.lines else "it said nothing"
        return {"event": "unavailable", "reason": f"vLLM died while starting ({how}): {last}"}
    if is_busy(reason):
        return {"event": "unavailable", "reason": f"vLLM: {reason}"}
    shortage = shortage_of(reason)
    found: dict[str, Json] = {"event": "failed", "reason": f"vLLM: {reason}"}
    return {**found, "shortage": shortage} if shortage else found


def death(engine: Engine, status: int) -> dict[str, Json]:
    """Return the event for an engine that ended while it served."""
    how = f"vLLM has ended ({describe(status)})"
    reason = reason_of(engine.lines)
    return {"event": "died", "reason": f"{how}: {reason}" if reason else how}


def _words(error: CallError) -> str:
    reason = str(error.data.get("reason") or error)
    return reason if isinstance(error, RuntimeUnavailable) else f"vLLM refused a probe: {reason}"
