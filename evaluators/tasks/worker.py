"""The process of one task: loads it, renders prompts, extracts and grades, on request.

It is forked from `evaluators.tasks.host`, which has imported lm-eval. Requests and replies are JSON
behind a length of four bytes. Everything runs in the main thread, because graders such as
math-verify set alarms; so a grader that hangs blocks this process, and the parent has it killed.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluators.errors import BadTask, RedraftError
from evaluators.tasks.catalogue import Catalogue
from evaluators.tasks.loading import OpenTask
from evaluators.tasks.spec import TaskSpec

_PR_SET_PDEATHSIG = 1
_STRETCH = 0.02
"""Seconds after which a message is answered with what has been judged by then."""


class _Service:
    """The open tasks and what can be asked of them."""

    def __init__(self) -> None:
        self._tasks: dict[str, OpenTask] = {}

    def open(self, specs: Sequence[Mapping[str, Any]], folders: Sequence[str]) -> object:
        """Open tasks and describe them."""
        catalogue = Catalogue([Path(folder) for folder in folders])
        for spec in map(TaskSpec.from_wire, specs):
            task = OpenTask(spec, catalogue.find(spec.name))
            if task.name in self._tasks:
                raise BadTask(task=task.name, reason="is named twice")
            self._tasks[task.name] = task
        return [task.info() for task in self._tasks.values()]

    def samples(self, task: str, limit: int, start: int) -> object:
        """Render prompts."""
        return self._tasks[task].samples(limit, start)

    def grade(self, task: str, index: int, answers: Sequence[object]) -> object:
        """Grade answers to one sample."""
        return self._tasks[task].grade(index, answers)

    def extract(self, task: str, index: int, text: str) -> object:
        """Extract one answer."""
        return self._tasks[task].extract(index, text)

    def judge(self, items: Sequence[Mapping[str, Any]]) -> object:
        """Serve requests to grade and extract, the first at least and as many as time allows."""
        until = time.monotonic() + _STRETCH
        replies = []
        for item in items:
            replies.append(self.answer(item))
            if time.monotonic() > until:
                break
        return replies

    def answer(self, request: Mapping[str, Any]) -> dict[str, object]:
        """Serve one request; our own errors travel as their name and data."""
        handlers: dict[str, Callable[..., object]] = {
            "open": self.open,
            "samples": self.samples,
            "judge": self.judge,
            "grade": self.grade,
            "extract": self.extract,
        }
        try:
            return {"result": handlers[request["do"]](**request["with"])}
        except RedraftError as error:
            return {"error": type(error).__name__, "data": error.data}


def serve() -> None:
    """Serve requests from stdin until it closes."""
    source, sink = claim_channels()
    service = _Service()
    with os.fdopen(source, "rb") as requests, os.fdopen(sink, "wb") as replies:
        while (header := requests.read(4)) and len(header) == 4:
            request = json.loads(requests.read(int.from_bytes(header)))
            reply = json.dumps(service.answer(request), default=str).encode()
            replies.write(len(reply).to_bytes(4) + reply)
            replies.flush()


def die_with(parent: int) -> None:
    """End when the parent does, even while a grader holds the interpreter."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(0)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(0)


def claim_channels() -> tuple[int, int]:
    """Keep stdin and stdout for ourselves, so that a task that prints or reads does no harm."""
    source, sink = os.dup(0), os.dup(1)
    with Path(os.devnull).open("r+b") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(nothing.fileno(), 1)
    return source, sink
