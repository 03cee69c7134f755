"""What a shard needs, what a slot offers, and how a machine is cut."""

from __future__ import annotations

import os

import pytest

from evaluators.errors import BadParameter
from evaluators.runtimes.gpu import TOLERANCE, Device
from leaderboard.runs.devices import DevicesTaken, Watch, leased
from leaderboard.runs.hardware import (
    Slot,
    hardware_of,
    parse_classes,
    queue_of,
    share_out,
    together,
)


class TestNeeds:
    @pytest.mark.parametrize(
        ("runtime", "args", "expected"),
        [
            ("echo", {}, "cpu"),
            ("lm-eval", {}, "cpu"),
            ("lm-eval", {"device": "cuda:0"}, "gpu"),
            ("vllm", {}, "gpu"),
            ("vllm", {"device": "cpu"}, "cpu"),
            ("vllm", {"tensor_parallel_size": 2}, "gpu:2"),
            ("vllm", {"tensor_parallel_size": 2, "pipeline_parallel_size": 4}, "gpu:8"),
            ("endpoint", {"device": "cuda"}, "endpoint"),
        ],
    )
    def test_of_a_model(self, runtime, args, expected):
        assert hardware_of(runtime, args) == expected

    @pytest.mark.parametrize(
        ("first", "second", "expected"),
        [
            ("gpu", "gpu", "gpu:2"),
            ("gpu:4", "endpoint", "gpu:4"),
            ("cpu", "gpu", "gpu"),
            ("cpu", "endpoint", "cpu"),
            ("endpoint", "endpoint", "endpoint"),
        ],
    )
    def test_of_two_models_side_by_side(self, first, second, expected):
        assert together(first, second) == expected

    def test_hints_go_by_kind_of_device(self):
        needs = ("cpu", "endpoint", "gpu", "gpu:2", "gpu-h200", "gpu-h200:4")
        assert [queue_of(need) for need in needs] == ["cpu", "endpoint", *["gpu"] * 4]


class TestOffers:
    def test_a_slot_takes_every_count_up_to_its_own(self):
        slot = Slot(("gpu-h200", "cpu"), ("0", "1"))
        assert set(slot.takes) == {
            "cpu", "gpu", "gpu:1", "gpu:2", "gpu-h200", "gpu-h200:1", "gpu-h200:2",
        }  # fmt: skip

    def test_a_slot_without_gpus_takes_none_of_their_work(self):
        assert Slot(("cpu",)).takes == ("cpu",)


class TestSharing:
    def test_every_gpu_is_a_slot_unless_fewer_are_asked_for(self):
        def groups(slots):
            found = share_out(("gpu",), ("0", "1", "2", "3", "4"), slots=slots, endpoints=2)
            return [slot.gpus for (slot,) in found]

        assert groups(None) == [("0",), ("1",), ("2",), ("3",), ("4",)]
        assert groups(2) == [("0", "1", "2"), ("3", "4")]
        assert groups(1) == [("0", "1", "2", "3", "4")]

    def test_what_needs_no_gpu_shares_a_process(self):
        found = share_out(("gpu", "cpu", "endpoint"), ("0",), slots=None, endpoints=2)
        light = [Slot(("cpu",)), Slot(("endpoint",)), Slot(("endpoint",))]
        assert found == [[Slot(("gpu",), ("0",))], light]

    def test_without_gpus_slots_are_models_on_the_cpu(self):
        assert share_out(("cpu",), (), slots=3, endpoints=2) == [[Slot(("cpu",))] * 3]

    @pytest.mark.parametrize(
        ("classes", "gpus", "slots", "reason"),
        [
            ("gpu", (), None, "there are none"),
            ("cpu", ("0",), None, "serves none"),
            ("gpu", ("0", "0"), None, "twice"),
            ("gpu", ("0", "1"), 3, "only 2 GPUs"),
        ],
    )
    def test_refuses_what_cannot_be_cut(self, classes, gpus, slots, reason):
        with pytest.raises(BadParameter, match=reason):
            share_out((classes,), gpus, slots=slots, endpoints=1)

    def test_reads_classes_once_each(self):
        assert parse_classes("gpu-h200, cpu,,cpu") == ("gpu-h200", "cpu")

    @pytest.mark.parametrize("text", ["", "tpu", "gpu:2", "GPU", "gpu-", "cpu:1"])
    def test_refuses_classes_that_are_none(self, text):
        with pytest.raises(BadParameter, match="must be of cpu, endpoint, gpu"):
            parse_classes(text)


class TestLeases:
    def test_a_device_is_owned_once(self, tmp_path):
        with leased(("0", "GPU-8a:1"), tmp_path):
            owner = f"GPU 0 is leased to process {os.getpid()}"
            with pytest.raises(DevicesTaken, match=owner), leased(("1", "0"), tmp_path):
                pass
            with leased(("1",), tmp_path):  # what was taken before the refusal was given back
                pass
        with leased(("0",), tmp_path):
            pass


class TestDirtyDevices:
    def device(self, used: float, *processes: int) -> Device:
        total = 100 * TOLERANCE
        return Device("3", "GPU-abc", "H200", total, total - int(used * TOLERANCE), processes)

    def watch(self, *readings: Device) -> list[str]:
        left = list(readings)
        watch = Watch(("3",), reader=lambda: (left.pop(0),))
        found = []
        for _ in readings:
            watch._asked = float("-inf")
            found.append(watch.problem())
        return found

    def test_refuses_a_device_that_somebody_else_is_on(self):
        (problem,) = self.watch(self.device(20.0, 4711))
        assert problem == (
            "GPU 3 (H200) is not free: 20.0 GiB are in use although no runtime of this worker is "
            "on it, by process 4711"
        )

    def test_takes_it_again_once_it_is_free(self):
        first, second, third = self.watch(self.device(0.4), self.device(2.5), self.device(0.6))
        assert (first, third) == ("", "")
        assert "2.5 GiB are in use" in second

    def test_leaves_a_little_to_drivers_and_displays(self):
        assert self.watch(self.device(0.9), self.device(1.8)) == ["", ""]

    def test_a_slot_without_devices_has_no_problem(self):
        assert Watch(()).problem() == ""
