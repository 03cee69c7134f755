"""The raw engine's side of a benchmark: vLLM's own `LLM.chat` on the same prompts, prints a `Run`.

Runs in vLLM's environment. The argument is JSON: `model` (a folder), `engine` (arguments of `LLM`),
`prompts` (a file of lines with id and content), `max_tokens`, `stop`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def main(asked: dict) -> dict:
    """Load the engine, then time one call with all prompts."""
    begun = time.perf_counter()
    from vllm import LLM, SamplingParams

    engine = LLM(model=asked["model"], generation_config="vllm", **asked["engine"])
    rows = [json.loads(line) for line in Path(asked["prompts"]).read_text().splitlines()]
    chats = [[{"role": "user", "content": row["content"]}] for row in rows]
    sampling = SamplingParams(temperature=0.0, max_tokens=asked["max_tokens"], stop=asked["stop"])
    engine.chat(chats[:1], sampling, use_tqdm=False)
    started = time.perf_counter()
    outputs = engine.chat(chats, sampling, use_tqdm=False)
    work = time.perf_counter() - started
    outcome = {
        str(row["id"]): [found.outputs[0].text] for row, found in zip(rows, outputs, strict=True)
    }
    tokens = sum(len(found.outputs[0].token_ids) for found in outputs)
    return {
        "work": work,
        "startup": started - begun,
        "outcome": outcome,
        "figures": {"completion tokens": tokens},
    }


if __name__ == "__main__":
    # The engine prints to standard output; what counts is the last line, after it.
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    print("\n" + json.dumps(main(json.loads(sys.argv[1]))), flush=True)
    os._exit(0)  # its processes take their time to end
