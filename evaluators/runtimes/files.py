"""Read a model's files without loading it: may it be served, and what is it?"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict, cast

from evaluators.errors import BadModel
from evaluators.model import Json
from evaluators.runtimes.cache import remembered
from evaluators.runtimes.kinds import Preflight
from evaluators.runtimes.weights import Located, weight_files

_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_FORBIDDEN = ("auto_map", "_attn_implementation_internal", "trust_remote_code")
_MAX_HEADER = 100 * 1024 * 1024
"""Bytes of a safetensors header; a longer one is an attack or a broken file."""

_WINDOWS = ("n_positions", "max_position_embeddings", "n_ctx")
"""Where configurations keep the context length, in lm-eval's order."""


class Supported(TypedDict):
    """What the installed libraries can serve."""

    models: list[str]
    """lm-eval's names of model classes."""
    architectures: list[str]
    """transformers' names of language models."""
    gguf: list[str]
    """Architectures that transformers can read from GGUF."""


def inspect_files(label: str, located: Located, *, known: Supported) -> Preflight:
    """Check the model's files and return what they say.

    Raises:
        BadModel: It cannot or must not be served.
    """
    if not located.folder.is_dir():
        raise BadModel(model=label, reason="there is no such folder")
    if located.gguf_file:
        return _gguf(label, located, known)
    config = read_config(label, located.folder)
    _check_weights(label, located)
    architecture = _architecture(label, config, known)
    text = config.get("text_config")
    inner = text if isinstance(text, dict) else config
    return Preflight(
        label=label,
        has_chat_template=_has_template(located.folder),
        architecture=architecture,
        parameters=_parameters(label, located),
        size_bytes=sum(path.stat().st_size for path in weight_files(located)),
        context_window=next((inner[k] for k in _WINDOWS if isinstance(inner.get(k), int)), None),
        path=located.folder,
        commit=located.commit,
    )


def read_config(label: str, folder: Path) -> Mapping[str, Any]:
    """Return config.json after refusing whatever could make the loader run strange code."""
    path = folder / "config.json"
    if not path.is_file():
        raise BadModel(model=label, reason=f"the folder {folder} has no config.json")
    try:
        config = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise BadModel(model=label, reason=f"config.json is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise BadModel(model=label, reason="config.json does not hold an object")
    for found in _keys(config):
        if found in _FORBIDDEN:
            reason = f"config.json has {found!r}, which could run the model author's code"
            raise BadModel(model=label, reason=reason)
    return config


def _keys(value: object) -> list[str]:
    """Return every key at any depth."""
    if isinstance(value, dict):
        return [*value, *(key for item in value.values() for key in _keys(item))]
    if isinstance(value, list):
        return [key for item in value for key in _keys(item)]
    return []


def _check_weights(label: str, located: Located) -> None:
    if next(weight_files(located), None):
        return
    pickled = sorted(p.name for p in located.folder.iterdir() if p.suffix in _PICKLES)
    if pickled:
        found = pickled[0]
        reason = (
            f"its weights are pickled ({found}), and loading those runs code; safetensors is safe"
        )
        raise BadModel(model=label, reason=reason)
    raise BadModel(
        model=label, reason=f"the folder {located.folder} has no safetensors or GGUF weights"
    )


def _architecture(label: str, config: Mapping[str, Any], known: Supported) -> str:
    listed = config.get("architectures")
    if not isinstance(listed, list) or not listed:
        raise BadModel(model=label, reason="config.json names no architecture")
    for name in listed:
        if name in known["architectures"]:
            return str(name)
    reason = f"what is installed has no language model of architecture {listed[0]}"
    raise BadModel(model=label, reason=reason)


def _has_template(folder: Path) -> bool:
    if any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    if any((folder / "additional_chat_templates").glob("*.jinja")):
        return True
    try:
        config = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and bool(config.get("chat_template"))


def _parameters(label: str, located: Located) -> int | None:
    """Count the weights from the headers of the safetensors files."""
    total = 0
    for path in weight_files(located):
        if path.suffix != ".safetensors":
            return None
        total += sum(math.prod(shape) for shape in _shapes(label, path))
    return total


def _shapes(label: str, path: Path) -> list[list[int]]:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _MAX_HEADER:
                raise BadModel(model=label, reason=f"{path.name} has a header of {length} bytes")
            header = json.loads(file.read(length))
        return [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise BadModel(model=label, reason=f"{path.name} is not a safetensors file") from error


def _gguf(label: str, located: Located, known: Supported) -> Preflight:
    path = located.folder / str(located.gguf_file)
    if not path.is_file():
        raise BadModel(model=label, reason=f"there is no file {path}")
    with path.open("rb") as file:
        magic = file.read(4)
    if magic != b"GGUF":
        raise BadModel(model=label, reason=f"{path.name} is not a GGUF file")
    fields = _gguf_facts(label, path)
    architecture = str(fields.get("general.architecture"))
    if architecture not in known["gguf"]:
        reason = (
            f"the installed transformers cannot read GGUF models of architecture {architecture!r}"
        )
        raise BadModel(model=label, reason=reason)
    window = fields.get(f"{architecture}.context_length")
    return Preflight(
        label=label,
        has_chat_template=bool(fields.get("tokenizer.chat_template")),
        architecture=architecture,
        parameters=fields["parameters"],
        size_bytes=path.stat().st_size,
        context_window=int(window) if window else None,
        path=located.folder,
        commit=located.commit,
    )


def _gguf_facts(label: str, path: Path) -> dict[str, Any]:
    """Return the short metadata fields and number of weights, remembered: reading is slow."""
    stat = path.resolve().stat()
    key = f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}"
    try:
        return cast("dict[str, Any]", remembered("gguf", key, lambda: _read_gguf(path)))
    except Exception as error:
        raise BadModel(model=label, reason=f"{path.name} is a broken GGUF file: {error}") from error


def _read_gguf(path: Path) -> dict[str, Json]:
    from gguf import GGUFReader  # imports numpy and more; only GGUF models need it

    reader = GGUFReader(path)
    wanted = ("general.architecture", "tokenizer.chat_template")
    fields: dict[str, Json] = {
        name: field.contents()
        for name, field in reader.fields.items()
        if name in wanted or name.endswith(".context_length")
    }
    return {**fields, "parameters": sum(int(tensor.n_elements) for tensor in reader.tensors)}
