"""Small GGUF models are unpacked once, because reading safetensors is several times faster."""

from __future__ import annotations

import contextlib
import copy
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evaluators.runtimes.unpacked import MODEL, unpacked_home
from evaluators.runtimes.weights import Located


def unpacked_folder(args: dict[str, Any]) -> Path | None:
    """Return where the unpacked form of a small GGUF model is kept, or None for other models."""
    if not args.get("gguf_file") or args.get("dtype") != "float32" or args.get("tokenizer"):
        return None
    located = Located(Path(args["pretrained"]), args["gguf_file"])
    home = unpacked_home(located, unpacker=f"transformers-{version('transformers')}")
    return home / MODEL if home else None


def use_unpacked(args: dict[str, Any]) -> dict[str, Any]:
    """Return arguments that read the unpacked form if it is there."""
    folder = unpacked_folder(args)
    if folder is None or not folder.is_dir():
        return args
    return {**args, "pretrained": str(folder), "gguf_file": None}


def keep_unpacked(lm: Any, args: dict[str, Any]) -> None:
    """Write the unpacked form of a model that has just been read from GGUF."""
    folder = unpacked_folder(args)
    if folder is None or folder.is_dir():
        return
    # Whatever goes wrong, a full disk or a faster neighbour, costs the copy and never the model.
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        half = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            _plain_copy(lm.model).save_pretrained(half)
            lm.tokenizer.save_pretrained(half)
            half.rename(folder)
        finally:
            shutil.rmtree(half, ignore_errors=True)


def _plain_copy(model: Any) -> Any:
    """Return the same weights without the mark of quantisation, which forbids saving."""
    config = copy.deepcopy(model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = type(model)(config)
    plain.load_state_dict(model.state_dict())
    plain.generation_config = model.generation_config
    return plain
