"""The process that has imported lm-eval once and forks a process per task from itself.

A frame is four bytes of length, four bytes of channel and a body. What arrives on a channel goes to
the process of that channel, which is forked with its first frame; an empty body kills it. What a
process answers goes back on its channel; when it ends, its last words follow with the mark `ENDED`.
Nothing here waits for a process, so no task holds up another.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from evaluators.tasks.lm_eval import preload, quicken, silence
from evaluators.tasks.worker import claim_channels, die_with, serve

ENDED = 1 << 31
"""Marks the channel of a frame that tells how a process ended."""

_CHUNK = 1 << 16
_TAIL = 4000


@dataclass(slots=True)
class _Process:
    """A forked process and our ends of its pipes."""

    channel: int
    pid: int
    requests: int
    replies: int
    errors: int
    unsent: bytearray = field(default_factory=bytearray)
    arrived: bytearray = field(default_factory=bytearray)
    tail: bytes = b""


class Host:
    """Forks processes and passes frames on."""

    def __init__(self, source: int, sink: int) -> None:
        self._source, self._sink = source, sink
        self._processes: dict[int, _Process] = {}
        self._arrived = bytearray()
        self._selector = selectors.DefaultSelector()
        self._selector.register(source, selectors.EVENT_READ, self._from_parent)

    def run(self) -> NoReturn:
        """Pass frames on until the parent closes its end, then kill everything."""
        while True:
            for key, events in self._selector.select():
                # An earlier event of this round may have closed it.
                if key.fileobj in self._selector.get_map():
                    key.data(events)

    def _from_parent(self, _events: int) -> None:
        chunk = os.read(self._source, _CHUNK)
        if not chunk:
            for channel in [*self._processes]:
                self._kill(channel)
            os._exit(0)
        self._arrived += chunk
        while len(self._arrived) >= 8:
            length = int.from_bytes(self._arrived[:4])
            if len(self._arrived) < 8 + length:
                return
            channel = int.from_bytes(self._arrived[4:8])
            frame = bytes(self._arrived[:4] + self._arrived[8 : 8 + length])
            del self._arrived[: 8 + length]
            self._pass_on(channel, frame, empty=not length)

    def _pass_on(self, channel: int, frame: bytes, *, empty: bool) -> None:
        if empty:
            if channel in self._processes:
                self._kill(channel)
            else:
                self._tell(channel | ENDED, b"it had not begun")
            return
        process = self._processes.get(channel) or self._fork(channel)
        process.unsent += frame
        self._write(process)

    def _fork(self, channel: int) -> _Process:
        inner, outer = zip(os.pipe(), os.pipe()[::-1], os.pipe()[::-1], strict=True)
        pid = os.fork()
        if not pid:
            self._become(inner)
        for end in inner:
            os.close(end)
        process = _Process(channel, pid, *outer)
        self._processes[channel] = process
        os.set_blocking(process.requests, False)
        self._watch(process.replies, lambda _: self._replied(process))
        self._watch(process.errors, lambda _: self._spoke(process))
        return process

    def _become(self, ends: tuple[int, ...]) -> NoReturn:
        """Be the forked process: nothing of the host's is left open."""
        parent = os.getppid()
        os.setsid()
        for place, end in enumerate(ends):
            os.dup2(end, place)
        self._selector.close()
        os.closerange(3, max(self._source, self._sink, *ends, 256) + 1)
        status = 1
        try:
            die_with(parent)
            serve()
            status = 0
        finally:
            os._exit(status)

    def _watch(self, end: int, handler: Callable[[int], None]) -> None:
        self._selector.register(end, selectors.EVENT_READ, handler)

    def _write(self, process: _Process) -> None:
        """Write what the process takes now; whether it takes more, the selector tells."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            while process.unsent:
                del process.unsent[: os.write(process.requests, process.unsent[:_CHUNK])]
        known = process.requests in self._selector.get_map()
        if process.unsent and not known:
            self._selector.register(
                process.requests, selectors.EVENT_WRITE, lambda _: self._write(process)
            )
        elif not process.unsent and known:
            self._selector.unregister(process.requests)

    def _replied(self, process: _Process) -> None:
        chunk = os.read(process.replies, _CHUNK)
        if not chunk:
            self._kill(process.channel, ending=True)
            return
        process.arrived += chunk
        while len(process.arrived) >= 4:
            end = 4 + int.from_bytes(process.arrived[:4])
            if len(process.arrived) < end:
                return
            self._tell(process.channel, bytes(process.arrived[4:end]))
            del process.arrived[:end]

    def _spoke(self, process: _Process) -> None:
        chunk = os.read(process.errors, _CHUNK)
        process.tail = (process.tail + chunk)[-_TAIL:]
        if not chunk:
            self._selector.unregister(process.errors)

    def _kill(self, channel: int, *, ending: bool = False) -> None:
        """Kill the process and whatever it started, and tell how it ended.

        Args:
            ending: It has closed its pipe: its own way to end is what should be told.
        """
        process = self._processes.pop(channel)
        status = _ended(process.pid) if ending else None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        if status is None:
            _, status = os.waitpid(process.pid, 0)
        for end in (process.requests, process.replies, process.errors):
            if end in self._selector.get_map():
                self._selector.unregister(end)
        process.tail += _rest(process.errors)
        for end in (process.requests, process.replies, process.errors):
            os.close(end)
        self._tell(channel | ENDED, _obituary(status, process.tail[-_TAIL:]).encode())

    def _tell(self, channel: int, body: bytes) -> None:
        frame = memoryview(len(body).to_bytes(4) + channel.to_bytes(4) + body)
        with contextlib.suppress(BrokenPipeError):  # the parent has gone: its end tells us so
            while frame:
                frame = frame[os.write(self._sink, frame) :]


def _ended(pid: int) -> int | None:
    """Return the status of a process that has closed its pipe, if it ends about now."""
    for _ in range(20):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return status
        time.sleep(0.01)
    return None


def _rest(end: int) -> bytes:
    """Return what can be read without waiting."""
    os.set_blocking(end, False)
    try:
        return os.read(end, _TAIL)
    except BlockingIOError:
        return b""


def _obituary(status: int, tail: bytes) -> str:
    """Say how a process ended: its last words, or the signal."""
    words = tail.decode("utf-8", "replace").strip().rpartition("\n")[2].strip()
    code = os.waitstatus_to_exitcode(status)
    how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    return f"{how}: {words}" if words else how


def main() -> None:
    """Serve the parent, whose process id is the argument."""
    die_with(int(sys.argv[1]))
    source, sink = claim_channels()
    silence()
    quicken()
    preload()
    Host(source, sink).run()


if __name__ == "__main__":
    main()
