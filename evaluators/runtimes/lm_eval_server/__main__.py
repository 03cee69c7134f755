"""The child's command: serve one lm-eval model, or list what can be served."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from evaluators.runtimes.server.main import CannotServe, run_server
from evaluators.runtimes.server.protocol import Answerer


def main() -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m evaluators.runtimes.lm_eval_server")
    parser.add_argument(
        "--architectures", action="store_true", help="print what can be served, as JSON"
    )
    parser.add_argument("--socket", type=Path)
    parser.add_argument("--spec", help="label, model, args and batch_size, as JSON")
    given = parser.parse_args()
    if given.architectures:
        sys.stdout.write(json.dumps(architectures()) + "\n")
    elif given.socket is None or given.spec is None:
        parser.error("--socket and --spec belong together")
    else:
        spec = json.loads(given.spec)
        run_server(lambda: load(**spec), given.socket)


def load(label: str, model: str, *, args: dict[str, Any], batch_size: int) -> Answerer:
    """Load the model class with its arguments and return it behind a batcher."""
    # Imported here, after the watch over the parent has begun: these take seconds.
    import torch

    from evaluators.runtimes.lm_eval_server import lm as adapter
    from evaluators.runtimes.lm_eval_server.generic import GenericBackend
    from evaluators.runtimes.lm_eval_server.hf import HfBackend, is_decodable
    from evaluators.runtimes.lm_eval_server.unpack import keep_unpacked, use_unpacked
    from evaluators.runtimes.server.batcher import Batcher

    if "pretrained" in args and "device" not in args:
        args["device"] = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        lm = adapter.create(model, use_unpacked(args), batch_size=batch_size)
    except torch.OutOfMemoryError as error:
        raise CannotServe(f"the model does not fit into the device's memory: {error}") from error
    keep_unpacked(lm, args)
    kind = HfBackend if is_decodable(lm) else GenericBackend
    return Batcher(kind(lm, label=label, batch_size=batch_size))


def architectures() -> dict[str, list[str]]:
    """Return the model classes and architectures that the installed libraries can serve."""
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES
    from transformers.models.auto import modeling_auto as auto

    from evaluators.runtimes.lm_eval_server.lm import model_classes

    causal = auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
    seq2seq = auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES.values()
    names = {
        n for entry in (*causal, *seq2seq) for n in ([entry] if isinstance(entry, str) else entry)
    }
    return {
        "models": model_classes(),
        "architectures": sorted(names),
        "gguf": sorted(GGUF_SUPPORTED_ARCHITECTURES),
    }


if __name__ == "__main__":
    main()
