"""Hardware classes: what a shard needs, what a slot offers, how a machine is cut into slots.

`cpu`, `endpoint`, `gpu` (one, of any kind), `gpu:2` (two), `gpu-h200:2` (two of that kind).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from evaluators.errors import BadParameter

CPU, ENDPOINT, GPU = "cpu", "endpoint", "gpu"

_FORM = re.compile(r"(cpu|endpoint)|(gpu(?:-[a-z0-9]+)*)(?::([1-9][0-9]?))?")
_SEVERAL = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
"""Arguments of vLLM that multiply the GPUs of a model."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Room for one runtime, with the GPUs that are its own."""

    classes: tuple[str, ...]
    """Hardware classes that it serves, without counts."""
    gpus: tuple[str, ...] = ()
    """Devices as `CUDA_VISIBLE_DEVICES` names them."""

    @property
    def takes(self) -> tuple[str, ...]:
        """Every hardware that a shard may need to be taken by this slot."""
        found = dict.fromkeys(name for name in self.classes if not is_gpu(name))
        kinds = dict.fromkeys(name for name in self.classes if is_gpu(name))
        if kinds:
            kinds[GPU] = None  # a shard that needs no kind in particular
        for kind in kinds:
            found[kind] = None
            found |= dict.fromkeys(f"{kind}:{count}" for count in range(1, len(self.gpus) + 1))
        return tuple(found)


def is_gpu(name: str) -> bool:
    """Tell whether a class or a need is one of GPUs."""
    return name.partition("-")[0].partition(":")[0] == GPU


def queue_of(hardware: str) -> str:
    """Return the queue that carries hints for shards of this hardware."""
    return GPU if is_gpu(hardware) else hardware


def parse_classes(text: str) -> tuple[str, ...]:
    """Read the classes that a worker is to serve, separated by commas.

    Raises:
        BadParameter: One of them is none, or carries a count.
    """
    names = tuple(dict.fromkeys(filter(None, (part.strip() for part in text.split(",")))))
    for name in names or ("",):
        match = _FORM.fullmatch(name)
        if match is None or match[3]:
            reason = "must be of cpu, endpoint, gpu and gpu-KIND, such as gpu-h200"
            raise BadParameter(owner="worker", name="hardware", value=text, reason=reason)
    return names


def gpus_needed(args: Mapping[str, Any]) -> int:
    """Return how many GPUs a model takes by its runtime's arguments; at least one."""
    count = 1
    for name in _SEVERAL:
        value = args.get(name)
        count *= value if isinstance(value, int) and value > 0 else 1
    return count


def hardware_of(runtime: str, args: Mapping[str, Any]) -> str:
    """Return the hardware that a model needs."""
    device = str(args.get("device", ""))
    if runtime == ENDPOINT:
        return ENDPOINT
    if device.startswith("cpu") or (runtime != "vllm" and not device.startswith("cuda")):
        return CPU
    count = gpus_needed(args)
    return GPU if count == 1 else f"{GPU}:{count}"


def count_of(hardware: str) -> int:
    """Return how many GPUs a need is for; 0 where it is none of GPUs."""
    match = _FORM.fullmatch(hardware)
    return int(match[3] or 1) if match is not None and match[2] else 0


def together(first: str, second: str) -> str:
    """Return the hardware of two models that run side by side."""
    gpus = count_of(first) + count_of(second)
    if gpus:
        return GPU if gpus == 1 else f"{GPU}:{gpus}"
    return CPU if CPU in {first, second} else ENDPOINT


def share_out(
    classes: Sequence[str], gpus: Sequence[str], *, slots: int | None, endpoints: int
) -> list[list[Slot]]:
    """Cut a machine into slots; every group is one process.

    A slot with GPUs has a process of its own: one event loop keeps one engine full, not eight.
    Slots without share one.

    Args:
        classes: What the worker serves.
        gpus: Devices to share out, evenly and in order.
        slots: How many slots share the GPUs (default: one each), or how many run models on the
            CPU where no GPUs are served (default: one).
        endpoints: Slots for endpoints, where those are served.

    Raises:
        BadParameter: There are more slots than GPUs, or GPUs that nobody serves.
    """
    kinds = tuple(name for name in classes if is_gpu(name))
    if bool(kinds) != bool(gpus):
        reason = "serves GPUs, but there are none" if kinds else "is given GPUs, but serves none"
        raise BadParameter(owner="worker", name="gpus", value=",".join(gpus), reason=reason)
    if len(set(gpus)) != len(gpus):
        reason = "names a device twice"
        raise BadParameter(owner="worker", name="gpus", value=",".join(gpus), reason=reason)
    groups = [[Slot(kinds, part)] for part in _parts(gpus, slots or len(gpus))] if gpus else []
    light = [Slot((CPU,))] * ((1 if gpus else slots or 1) if CPU in classes else 0)
    light += [Slot((ENDPOINT,))] * (endpoints if ENDPOINT in classes else 0)
    return [*groups, light] if light else groups


def _parts(gpus: Sequence[str], slots: int) -> list[tuple[str, ...]]:
    if slots > len(gpus):
        reason = f"there are only {len(gpus)} GPUs to share out"
        raise BadParameter(owner="worker", name="slots", value=slots, reason=reason)
    size, more = divmod(len(gpus), slots)
    starts = [number * size + min(number, more) for number in range(slots + 1)]
    return [tuple(gpus[a:b]) for a, b in pairwise(starts)]
