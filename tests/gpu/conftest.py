"""Items G1 to G6 of the acceptance table: on a real GPU, and on a stand-in for one everywhere."""

from __future__ import annotations

import json
import os
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from evaluators.errors import BadModel
from evaluators.model import Json
from evaluators.runtimes import ModelSpec
from evaluators.runtimes.gpu import Reader, read_devices
from evaluators.runtimes.vllm_install import COMMAND, PYTHON, find_installation
from evaluators.testing.stub_engine import Behaviour, command
from evaluators.testing.stub_gpu import StubGpu

ROOT = Path(__file__).parents[2]
MODEL = os.environ.get("REDRAFT_GPU_MODEL", "bundled/smollm2-135m-instruct")


@dataclass(frozen=True)
class Bench:
    """A GPU, an engine for it, and how often things are to be tried on it."""

    gpus: Reader
    args: dict[str, Json]
    real: bool
    settle: float
    """Seconds that memory may take to come back."""
    gpu: StubGpu | None = None
    monkeypatch: pytest.MonkeyPatch = field(default_factory=pytest.MonkeyPatch)

    def spec(self, **args: Json) -> ModelSpec:
        return ModelSpec("vllm", "vllm", {**self.args, **args})

    def times(self, real: int, stub: int) -> int:
        """How often: the stand-in has nothing to show that a few times do not show."""
        return real if self.real else stub

    def behave(self, **behaviour: object) -> None:
        """Have the stand-in behave like this from now on."""
        assert self.gpu is not None
        options = Behaviour(gpu=str(self.gpu.folder), **behaviour)  # type: ignore[arg-type]
        self.monkeypatch.setenv(COMMAND, command(options))

    def free(self) -> int:
        """Bytes free on all devices."""
        return sum(device.free for device in self.gpus())


def _why_no_gpu() -> str:
    if not read_devices():
        return "this machine has no NVIDIA GPU"
    try:
        found = find_installation()
    except BadModel as error:
        return str(error.data["reason"])
    return "vLLM's environment is for processors: make vllm VLLM=gpu" if found.cpu else ""


@pytest.fixture(params=["stub", pytest.param("gpu", marks=pytest.mark.gpu)])
def bench(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Bench]:
    if request.param == "gpu":
        if reason := _why_no_gpu():
            pytest.skip(reason)
        args: dict[str, Json] = {"pretrained": MODEL, "max_model_len": 2048}
        yield Bench(read_devices, args, real=True, settle=60.0)
        return
    monkeypatch.delenv(PYTHON, raising=False)
    (ROOT / "var").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "var") as folder:
        gpu = StubGpu.make(Path(folder) / "gpu", slots=8)
        args = {"pretrained": str(_weights(tmp_path / "weights")), "max_num_seqs": 64}
        found = Bench(gpu.devices, args, real=False, settle=5.0, gpu=gpu, monkeypatch=monkeypatch)
        found.behave()
        yield found


def _weights(folder: Path) -> Path:
    """Make a folder that looks like a model's from outside."""
    folder.mkdir()
    config = {"architectures": ["StubForCausalLM"], "max_position_embeddings": 2048}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "x"}))
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    return folder
