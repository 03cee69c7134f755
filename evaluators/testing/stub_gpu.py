"""A GPU made of files: memory is held by locks, which end with the process that holds them."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from evaluators.runtimes.gpu import Device

SLOT = 2**30
"""Bytes that one file stands for."""


class StubGpu:
    """One device whose every GiB is a file that a process may hold locked.

    Locks belong to processes and not to names or numbers, so they are seen through the walls of a
    PID namespace, and the kernel frees them however the holder dies: like memory of a GPU.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def make(cls, folder: Path, *, slots: int) -> StubGpu:
        """Make a device with that many GiB."""
        folder.mkdir(parents=True)
        for number in range(slots):
            (folder / f"{number:03}").touch()
        return cls(folder)

    def free(self) -> int:
        """Return the number of GiB that nobody holds."""
        return sum(_is_free(path) for path in self.folder.iterdir())

    def total(self) -> int:
        """Return the number of GiB that there are."""
        return sum(1 for _ in self.folder.iterdir())

    def hold(self, slots: int) -> list[int]:
        """Take that many GiB for as long as this process lives; return how they are held.

        Raises:
            MemoryError: There are not so many.
        """
        held: list[int] = []
        for path in sorted(self.folder.iterdir()):
            if len(held) == slots:
                break
            handle = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(handle)
            else:
                held.append(handle)
        if len(held) < slots:
            for handle in held:
                os.close(handle)
            raise MemoryError(slots)
        return held

    def devices(self) -> tuple[Device, ...]:
        """Look at the device as `evaluators.runtimes.gpu.read_devices` looks at real ones."""
        return (
            Device(
                index="0",
                uuid="GPU-stub",
                name="Stub",
                total=self.total() * SLOT,
                free=self.free() * SLOT,
            ),
        )


def _is_free(path: Path) -> bool:
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(handle)
