"""Memory of the GPUs before a runtime starts and after it has ended: what stays away is dirty."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

TOLERANCE = 2**30
"""Bytes that may be missing afterwards: drivers and neighbours keep a little."""

SETTLE_SECONDS = 60.0
"""How long the driver may take to give a dead process's memory back."""

_POLL = 0.2


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU as the driver sees it, whoever uses it."""

    index: str
    """Its number, as CUDA_VISIBLE_DEVICES has it when devices are ordered by their bus."""
    uuid: str
    name: str
    total: int
    """Bytes."""
    free: int
    """Bytes."""
    processes: tuple[int, ...] = ()
    """Processes that compute on it, by the numbers that the driver knows them by."""


Reader: TypeAlias = Callable[[], Sequence[Device]]


@dataclass(frozen=True, slots=True)
class Dirty:
    """A GPU whose memory did not come back: nothing may be started on it until somebody looks."""

    index: str
    uuid: str
    baseline_free: int
    """Bytes free before the runtime was started."""
    free: int
    """Bytes free when we gave up waiting."""
    processes: tuple[int, ...]
    """Who computes on it now."""


def read_devices() -> tuple[Device, ...]:
    """Return the machine's NVIDIA GPUs; none where there is no driver."""
    try:
        import pynvml  # type: ignore[import-untyped]  # it has no types
    except ImportError:
        return ()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        return tuple(_device(index) for index in range(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError:
        return ()
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _device(index: int) -> Device:
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    processes = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    return Device(
        index=str(index),
        uuid=str(pynvml.nvmlDeviceGetUUID(handle)),
        name=str(pynvml.nvmlDeviceGetName(handle)),
        total=int(memory.total),
        free=int(memory.free),
        processes=tuple(int(process.pid) for process in processes),
    )


def visible(devices: Sequence[Device], value: str | None) -> tuple[Device, ...]:
    """Return the devices that CUDA_VISIBLE_DEVICES leaves: all when it is not set.

    Args:
        devices: All devices of the machine.
        value: Numbers or beginnings of identifiers, separated by commas.
    """
    if value is None:
        return tuple(devices)
    wanted = [word.strip() for word in value.split(",") if word.strip()]
    return tuple(
        device
        for device in devices
        if any(word == device.index or device.uuid.startswith(word) for word in wanted)
    )


async def settle(
    baseline: Sequence[Device],
    *,
    reader: Reader = read_devices,
    seconds: float = SETTLE_SECONDS,
    tolerance: int = TOLERANCE,
) -> tuple[Dirty, ...]:
    """Wait until every device has its memory back; return those that have not.

    Args:
        baseline: The devices before the runtime was started.
        reader: Looks at the devices.
        seconds: How long to wait.
        tolerance: Bytes that may be missing.
    """
    if not baseline:
        return ()
    deadline = time.monotonic() + seconds
    while True:
        now = {device.uuid: device for device in await asyncio.to_thread(reader)}
        missing = [
            device
            for device in baseline
            if device.uuid in now and now[device.uuid].free < device.free - tolerance
        ]
        if not missing or time.monotonic() >= deadline:
            return tuple(_dirty(device, now[device.uuid]) for device in missing)
        await asyncio.sleep(_POLL)


def _dirty(before: Device, after: Device) -> Dirty:
    return Dirty(before.index, before.uuid, before.free, after.free, after.processes)
