"""GPUs of this machine: leased to one process at a time, left alone while others are on them."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from evaluators.errors import InputError
from evaluators.runtimes.gpu import (
    SETTLE_SECONDS,
    TOLERANCE,
    Device,
    Reader,
    read_devices,
    visible,
)

log = logging.getLogger(__name__)

_ASK_SECONDS = 5.0


class DevicesTaken(InputError):
    """Another process owns a GPU.

    Args (as data): device, owner.
    """

    id = "devices-taken"

    def __str__(self) -> str:
        """Name the device and its owner."""
        return (
            f"GPU {self.data['device']} is leased to {self.data['owner']}: stop that worker, or "
            "leave the device out of --gpus."
        )


def visible_gpus() -> tuple[str, ...]:
    """Return the devices that this process may use: those it is told of, else all there are."""
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return tuple(filter(None, (part.strip() for part in told.split(","))))
    return tuple(device.index for device in read_devices())


@contextlib.contextmanager
def leased(gpus: Sequence[str], folder: Path) -> Iterator[None]:
    """Own the devices as long as the block lasts; the kernel gives them back if we die.

    Args:
        gpus: Devices as `CUDA_VISIBLE_DEVICES` names them.
        folder: Shared by all workers of the machine.

    Raises:
        DevicesTaken: Another process owns one of them.
    """
    with contextlib.ExitStack() as stack:
        for gpu in sorted(gpus):
            stack.enter_context(_lease(gpu, folder))
        yield


def _lease(gpu: str, folder: Path) -> IO[str]:
    folder.mkdir(parents=True, exist_ok=True)
    name = "".join(letter if letter.isalnum() or letter == "-" else "_" for letter in gpu)
    file = (folder / f"gpu-{name}.lock").open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = f"process {file.read().strip() or 'unknown'}"
        file.close()
        raise DevicesTaken(device=gpu, owner=owner) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


class Watch:
    """Looks whether a slot's devices are free while no runtime of ours is on them.

    Args:
        gpus: Devices as `CUDA_VISIBLE_DEVICES` names them.
        reader: Looks at the machine's devices.
    """

    def __init__(self, gpus: Sequence[str], reader: Reader = read_devices) -> None:
        self._gpus = gpus
        self._reader = reader
        self._least: dict[str, int] = {}
        self._asked = 0.0
        self._since: float | None = None
        self._problem = ""

    def problem(self) -> str:
        """Return what is on the devices that should not be; empty when they are free.

        Asks the driver at most once every few seconds.
        """
        now = time.monotonic()
        if not self._gpus or now - self._asked < _ASK_SECONDS:
            return self._problem
        self._asked = now
        mine = visible(self._reader(), ",".join(self._gpus))
        self._problem = "; ".join(self._dirty(mine))
        self._alert(now)
        return self._problem

    def _dirty(self, devices: Sequence[Device]) -> Iterator[str]:
        for device in devices:
            used = device.total - device.free
            least = self._least[device.uuid] = min(self._least.get(device.uuid, used), used)
            # What was there before us is no reason to wait, unless it is a model.
            if used > min(least, TOLERANCE) + TOLERANCE:
                yield (
                    f"GPU {device.index} ({device.name}) is not free: {used / TOLERANCE:.1f} GiB "
                    f"are in use although no runtime of this worker is on it{_by(device)}"
                )

    def _alert(self, now: float) -> None:
        if not self._problem:
            if self._since is not None:
                log.info("the devices are free again")
            self._since = None
        elif self._since is None:
            self._since = now
            log.warning("%s; taking no work", self._problem)
        elif now - self._since >= SETTLE_SECONDS:
            self._since = now
            log.error("%s, and have been for more than %.0f s", self._problem, SETTLE_SECONDS)


def _by(device: Device) -> str:
    return f", by process {', '.join(map(str, device.processes))}" if device.processes else ""
