"""Runs a command that receives a signal when the process that started it dies, however it dies.

Used as a script, on the standard library alone:
`python -I -S tether.py PARENT SIGNAL UID GID -- COMMAND…`. It becomes
the command, so the command's process id is the one that was started.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
UNCHANGED = -1
"""In place of a uid or gid: stay who you are."""


def command(
    argv: list[str], *, sign: int = signal.SIGTERM, uid: int = UNCHANGED, gid: int = UNCHANGED
) -> list[str]:
    """Return the command line that runs `argv` tied to this process.

    The tie is to the thread that starts it: start long-lived children from the main thread.
    """
    options = [str(os.getpid()), str(int(sign)), str(uid), str(gid)]
    return [sys.executable, "-I", "-S", __file__, *options, "--", *argv]


def main(arguments: list[str]) -> None:
    """Drop to the given user, ask for the signal, and become the command."""
    parent, sign, uid, gid = map(int, arguments[:4])
    argv = arguments[5:]
    if uid != UNCHANGED:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # after setuid, which would clear it
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, sign, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("The process that asked for this one is gone.")
    os.execvp(argv[0], argv)  # noqa: S606 - the command is ours, and no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
