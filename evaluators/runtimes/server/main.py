"""The life of a runtime's child process: load, say ready, serve, and never outlive the parent."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from aiohttp import web

from evaluators.runtimes.server.app import make_app
from evaluators.runtimes.server.control import (
    FAILED,
    PARENT_GONE,
    await_parents_end,
    say,
    take_over_stdout,
)
from evaluators.runtimes.server.protocol import Answerer


class CannotServe(Exception):
    """The model cannot be served; the text is the one-line reason for people."""


def run_server(load: Callable[[], Answerer], socket: Path) -> NoReturn:
    """Load the model and serve it until the parent closes our standard input.

    Standard output is a control channel of one JSON line, so whatever else is printed goes to
    standard error.
    """
    control = take_over_stdout()
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    try:
        model = load()
    except BaseException as error:
        logging.getLogger(__name__).exception("The model could not be loaded")
        say(control, {"event": "failed", "reason": _one_line(error)})
        _exit(FAILED)
    asyncio.new_event_loop().run_until_complete(_serve(model, socket, control))
    _exit(0)


async def _serve(model: Answerer, socket: Path, control: int) -> None:
    # handler_cancellation: a client that goes away must free its row.
    runner = web.AppRunner(
        make_app(model), handler_cancellation=True, keepalive_timeout=86_400.0, access_log=None
    )
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    # Only we may call: the folder is private as well.
    socket.chmod(0o600)  # noqa: ASYNC240 - one call, before anybody is served
    say(control, {"event": "ready", "facts": model.facts.wire()})
    await asyncio.Event().wait()


def _exit_with_parent() -> None:
    await_parents_end()
    _exit(PARENT_GONE)


def _exit(status: int) -> NoReturn:
    # No clean-up: destructors of a model on a GPU may hang, and the kernel frees everything.
    sys.stderr.flush()
    os._exit(status)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, CannotServe):
        return text[:1000]
    return f"{type(error).__name__}: {text}"[:1000]
