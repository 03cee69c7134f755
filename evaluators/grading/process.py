"""The parent's side of the comparing process: start, ask, time out, kill, start again."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from evaluators.environment import inherited
from evaluators.grading.maths import Outcome, Verdict, grade

LIMIT = 3.0
"""Seconds that one comparison may take."""

_START = 120.0
"""Seconds that the process may take to start: importing sympy on a busy machine is slow."""

_OUTCOMES: dict[str, Outcome] = {
    "equal": "equal", "different": "different", "unreadable": "unreadable",
}  # fmt: skip


class Grader:
    """Grades answers; what needs symbolic comparison is done in a process that may be killed."""

    def __init__(self, *, limit: float = LIMIT) -> None:
        """Start nothing yet.

        Args:
            limit: Seconds that one comparison may take.
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

    def grade(self, prediction: str | None, gold: str, *, choices: Sequence[str] = ()) -> Verdict:
        """Grade a reply against a gold answer; never raises because of what either says.

        Args:
            prediction: The whole reply, or the answer alone; None where nothing was generated.
            gold: The gold answer, or a solution that holds it in a box or after `####`.
            choices: Texts of the options, in the order of their letters.
        """
        deadline = time.monotonic() + self._limit

        def symbolic(left: str, right: str) -> Outcome:
            return self._compare(left, right, deadline=deadline)

        return grade(prediction, gold, choices=choices, symbolic=symbolic)

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._drop()

    def _compare(self, gold: str, answer: str, *, deadline: float) -> Outcome:
        if time.monotonic() >= deadline:
            return "timeout"
        request = json.dumps({"gold": gold, "answer": answer}).encode() + b"\n"
        with self._lock:
            started = time.monotonic()
            child = self._child if self._alive() else self._start()
            # Starting is no fault of the answer: it gets its whole time.
            seconds = max(0.0, deadline - started)
            said = _ask(child, request, seconds=seconds)
            if said in _OUTCOMES:
                return _OUTCOMES[said]
            self._drop()
        return "timeout" if said is None else "unreadable"

    def _alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

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
        if _read(self._child, seconds=_START) != "ready":
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


def _ask(child: subprocess.Popen[bytes] | None, request: bytes, *, seconds: float) -> str | None:
    """Send a request and return what is said; None if nothing is in time, empty if it died."""
    if child is None or child.stdin is None:
        return ""
    try:
        child.stdin.write(request)
    except OSError:
        return ""
    return _read(child, seconds=seconds)


def _read(child: subprocess.Popen[bytes], *, seconds: float) -> str | None:
    source: IO[bytes] | None = child.stdout
    if source is None:
        return ""
    until, line = time.monotonic() + seconds, b""
    with selectors.DefaultSelector() as selector:
        selector.register(source, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, until - time.monotonic())):
                return None
            chunk = os.read(source.fileno(), 4096)
            if not chunk:
                return ""
            line += chunk
    return str(json.loads(line)["outcome"])
