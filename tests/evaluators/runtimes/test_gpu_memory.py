"""GPU memory before and after a runtime, seen through readers of our own making."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from evaluators.runtimes.gpu import Device, Dirty, read_devices, settle, visible
from evaluators.testing.stub_gpu import SLOT, StubGpu

GIB = 2**30


def device(index: int, free: int, *, processes: tuple[int, ...] = ()) -> Device:
    return Device(str(index), f"GPU-{index}abc", "Stub", 8 * GIB, free, processes)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ["0", "1", "2"]),
        ("", []),
        ("1", ["1"]),
        ("2, 0", ["0", "2"]),
        ("GPU-1", ["1"]),
        ("7", []),
        ("-1", []),
    ],
    ids=["not set", "none", "a number", "several", "an identifier", "not there", "CUDA's none"],
)
def test_visible_devices(value: str | None, expected: list[str]) -> None:
    devices = [device(index, 8 * GIB) for index in range(3)]
    assert [found.index for found in visible(devices, value)] == expected


class TestSettle:
    async def test_a_device_that_keeps_its_memory_is_dirty(self) -> None:
        after = [device(0, 8 * GIB), device(1, 3 * GIB, processes=(42,))]
        dirty = await settle(
            [device(0, 8 * GIB), device(1, 7 * GIB)], reader=lambda: after, seconds=0.3
        )
        assert dirty == (Dirty("1", "GPU-1abc", 7 * GIB, 3 * GIB, (42,)),)

    async def test_a_gib_may_be_missing(self) -> None:
        after = [device(0, 7 * GIB)]
        assert await settle([device(0, 8 * GIB)], reader=lambda: after, seconds=0.0) == ()

    async def test_waits_for_a_driver_that_takes_its_time(self) -> None:
        readings = iter([1, 1, 8])
        started = time.monotonic()
        dirty = await settle(
            [device(0, 8 * GIB)], reader=lambda: [device(0, next(readings) * GIB)], seconds=30.0
        )
        assert dirty == ()
        assert 0.3 < time.monotonic() - started < 5.0

    async def test_a_device_that_has_gone_is_not_waited_for(self) -> None:
        assert await settle([device(0, 8 * GIB)], reader=tuple, seconds=30.0) == ()


class TestStubGpu:
    def test_memory_is_held_and_given_back(self, tmp_path: Path) -> None:
        gpu = StubGpu.make(tmp_path / "gpu", slots=3)
        held = gpu.hold(2)
        assert (gpu.free(), gpu.total()) == (1, 3)
        with pytest.raises(MemoryError):
            gpu.hold(2)
        assert gpu.free() == 1  # what could not be had as a whole was given back
        for handle in held:
            os.close(handle)
        assert gpu.devices()[0].free == 3 * SLOT


def test_a_machine_without_a_driver_has_no_devices() -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has an NVIDIA GPU")
    assert read_devices() == ()
