"""The process that compares answers as mathematics, so that it can be killed when it hangs.

A request is a line of JSON with `gold`, `answer` and `seconds`; a reply is a line with `outcome`
and the `seconds` it took. They are seconds of the processor, so that a busy machine changes no
verdict. When they are up the kernel ends the process: long arithmetic hears no signal of Python's.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_MEMORY = 3 * 2**30
"""Bytes of address space: numbers may ask for more memory than there is."""


def main() -> None:
    """Serve requests from stdin until it closes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    source, sink = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
    with Path(os.devnull).open("r+b") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(nothing.fileno(), 1)
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    outcome("1", "x")  # loads all that is loaded on first use
    _say(sink, "ready", 0.0)
    for line in source:
        request = json.loads(line)
        before = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, max(request["seconds"], 0.001))
        said = outcome(request["gold"], request["answer"])
        signal.setitimer(signal.ITIMER_PROF, 0)
        _say(sink, said, time.process_time() - before)


def _say(sink: Any, said: str, seconds: float) -> None:
    sink.write(json.dumps({"outcome": said, "seconds": seconds}) + "\n")
    sink.flush()


def outcome(gold: str, answer: str) -> str:
    """Compare two answers with math-verify."""
    from math_verify import verify  # type: ignore[import-untyped]  # it has no types

    try:
        left, right = _parsed(gold), _parsed(answer)
        if not left or not right:
            return "unreadable"
        same = verify(
            left, right, allow_set_relation_comp=True, timeout_seconds=None, raise_on_error=True
        )
    except (Exception, RecursionError, MemoryError):  # noqa: BLE001 - parsers and sympy may raise anything
        return "unreadable"
    return "equal" if same else "different"


def _parsed(text: str) -> list[Any]:
    """Return what the text is as mathematics; nothing where it is not."""
    from math_verify import LatexExtractionConfig, parse

    # Its reader of plain expressions is left out: it is content with a part of the text.
    found: list[Any] = parse(
        f"${text}$",
        [LatexExtractionConfig()],
        fallback_mode="no_fallback",
        parsing_timeout=None,
        raise_on_error=True,
    )
    return found


if __name__ == "__main__":
    main()
