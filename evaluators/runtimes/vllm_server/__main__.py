"""The agent's command: supervise one engine, and end with it or with the parent."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import threading
from typing import NoReturn

from evaluators.runtimes.server.control import (
    FAILED,
    PARENT_GONE,
    await_parents_end,
    say,
    take_over_stdout,
)
from evaluators.runtimes.vllm_server.agent import ENGINE_DIED, Failed, death, start
from evaluators.runtimes.vllm_server.engine import describe, kill_descendants
from evaluators.runtimes.vllm_server.plan import Plan


def main() -> None:
    """Start what the plan on the command line says, and never outlive the parent."""
    parser = argparse.ArgumentParser(prog="python -m evaluators.runtimes.vllm_server")
    parser.add_argument("plan", help="what to start, as JSON")
    plan = Plan.from_json(parser.parse_args().plan)
    control = take_over_stdout()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _end(asyncio.new_event_loop().run_until_complete(_supervise(plan, control)))


async def _supervise(plan: Plan, control: int) -> int:
    try:
        engine, facts = await start(plan)
    except Failed as failure:
        say(control, failure.event)
        return FAILED
    say(control, {"event": "ready", "facts": facts})
    status = await engine.ended()
    say(control, death(engine, status))
    sys.stderr.write(f"the engine has ended: {describe(status)}\n")
    return ENGINE_DIED


def _end_with_parent() -> None:
    await_parents_end()
    _end(PARENT_GONE)


def _end(status: int) -> NoReturn:
    kill_descendants()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
