"""The parent's side of the comparing process: start, ask, time out, kill, start again."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from evaluators.environment import inherited
from evaluators.grading.maths import Outcome, Verdict, grade

LIMIT = 3.0
"""Seconds of the processor that comparing one answer may take."""

_PATIENCE = 8
"""How many times longer it may take by the clock: a busy machine must not change a verdict."""

_START = 120.0
"""Seconds that the process may take to start: importing sympy on a busy machine is slow."""

_OUTCOMES: dict[str, Outcome] = {
    "equal": "equal", "different": "different", "unreadable": "unreadable",
}  # fmt: skip

_DIED: dict[str, Any] = {"outcome": "died", "seconds": 0.0}


class Grader:
    """Grades answers; what needs symbolic comparison is done in a process that may be killed."""

    def __init__(self, *, limit: float = LIMIT) -> None:
        """Start nothing yet.

        Args:
            limit: Seconds of the processor that comparing one answer may take.
        """
        self._limit = limit
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def grade(
        self,
        prediction: str | None,
        gold: str,
        *,
        choices: Sequence[str] = (),
        alone: bool = False,
    ) -> Verdict:
        """Grade a reply against a gold answer; never raises because of what either says.

        Args:
            prediction: The whole reply, or the answer alone; None where nothing was generated.
            gold: The gold answer, or a solution that holds it in a box or after `####`.
            choices: Texts of the options, in the order of their letters.
            alone: The prediction was taken out of a reply already: nothing is looked for in it.
        """
        left = self._limit

        def symbolic(one: str, other: str) -> Outcome:
            nonlocal left
            if left <= 0:
                return "timeout"
            outcome, seconds = self._compare(one, other, seconds=left)
            left -= seconds
            return outcome

        return grade(prediction, gold, choices=choices, alone=alone, symbolic=symbolic)

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._drop()

    def _compare(self, gold: str, answer: str, *, seconds: float) -> tuple[Outcome, float]:
        """Return what a comparison came to and how long it took; all there was when it failed."""
        request = json.dumps({"gold": gold, "answer": answer, "seconds": seconds}).encode() + b"\n"
        with self._lock:
            child = self._child if self._child and self._child.poll() is None else self._start()
            reply = _ask(child, request, patience=_PATIENCE * seconds)
            if reply is not None and reply["outcome"] in _OUTCOMES:
                return _OUTCOMES[reply["outcome"]], float(reply["seconds"])
            stopped = reply is None or _waited(child) == -signal.SIGPROF
            self._drop()
        return ("timeout" if stopped else "unreadable"), seconds

    def _start(self) -> subprocess.Popen[bytes]:
        self._drop()
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", "-m", "evaluators.grading.worker"],
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        ready = _read(self._child, seconds=_START)
        if ready is None or ready["outcome"] != "ready":
            self._drop()
            msg = "the process that compares answers does not start: is math-verify installed?"
            raise OSError(msg)
        return self._child

    def _drop(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()


@cache
def shared() -> Grader:
    """Return the one grader of this process, which ends with it."""
    return Grader()


def _environment() -> dict[str, str]:
    path = [str(Path(entry).resolve()) for entry in sys.path if Path(entry).exists()]
    fixed = {
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONIOENCODING": "utf-8",
        "PYTHONHASHSEED": "0",
    }
    return inherited() | fixed


def _ask(
    child: subprocess.Popen[bytes], request: bytes, *, patience: float
) -> dict[str, Any] | None:
    """Send a request and return the reply: None if none came in time, `died` if it never will."""
    if child.stdin is None:
        return _DIED
    try:
        child.stdin.write(request)
    except OSError:
        return _DIED
    return _read(child, seconds=patience)


def _read(child: subprocess.Popen[bytes], *, seconds: float) -> dict[str, Any] | None:
    source: IO[bytes] | None = child.stdout
    if source is None:
        return _DIED
    until, line = time.monotonic() + seconds, b""
    with selectors.DefaultSelector() as selector:
        selector.register(source, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, until - time.monotonic())):
                return None
            chunk = os.read(source.fileno(), 4096)
            if not chunk:
                return _DIED
            line += chunk
    reply: dict[str, Any] = json.loads(line)
    return reply


def _waited(child: subprocess.Popen[bytes]) -> int | None:
    """Return how a process that closed its output ended; None if it has not."""
    try:
        return child.wait(timeout=1.0)
    except subprocess.TimeoutExpired:
        return None
