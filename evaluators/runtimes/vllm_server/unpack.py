"""Run by vLLM's own Python, alone: write a GGUF model as safetensors, which vLLM reads anywhere."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path


def main(gguf: str, target: str) -> None:
    """Write the model of a GGUF file, in float32, into a folder that is there whole or not at all.

    Nothing of Redraft is imported here: this environment is vLLM's.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, name = Path(gguf).parent, Path(gguf).name
    options = {"gguf_file": name, "local_files_only": True, "trust_remote_code": False}
    half = Path(tempfile.mkdtemp(dir=Path(target).parent))
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options)
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config  # the weights are plain by now
        plain = type(model)(model.config)
        plain.load_state_dict(model.state_dict())
        plain.generation_config = model.generation_config
        plain.save_pretrained(half)
        AutoTokenizer.from_pretrained(folder, **options).save_pretrained(half)
        if not Path(target).is_dir():  # a neighbour may have been faster
            half.rename(target)
    finally:
        shutil.rmtree(half, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
