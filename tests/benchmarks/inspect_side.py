"""Inspect's side of a benchmark: `generate` or `self_critique` on a served model, prints a `Run`.

Runs in the environment of requirements/bench.txt. The argument is JSON: `url`, `name`, `prompts`
(a file of lines with id, content and target), `in_flight`, `solver`, `max_tokens`. One sample runs
before the clock starts, so that imports and first connections are start-up and not work.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path


def main(asked: dict, folder: str) -> dict:
    """Run Inspect's `eval` and read what came out of its log, which it writes into the folder."""
    begun = time.perf_counter()
    from inspect_ai import Task
    from inspect_ai import eval as evaluate
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import GenerateConfig, get_model
    from inspect_ai.scorer import match
    from inspect_ai.solver import generate, self_critique

    rows = [json.loads(line) for line in Path(asked["prompts"]).read_text().splitlines()]
    config = GenerateConfig(
        max_connections=asked["in_flight"], max_tokens=asked["max_tokens"], temperature=0.0
    )
    model = get_model(
        f"openai-api/served/{asked['name']}", base_url=asked["url"], api_key="none", config=config
    )
    chain = [generate()] if asked["solver"] == "generate" else [generate(), self_critique()]

    def run(rows: list[dict]) -> object:
        samples = [Sample(id=row["id"], input=row["content"], target=row["target"]) for row in rows]
        (log,) = evaluate(
            Task(dataset=MemoryDataset(samples), solver=chain, scorer=match(numeric=True)),
            model=model,
            max_samples=asked["in_flight"],
            log_dir=folder,
            display="none",
        )
        if log.status != "success":
            sys.exit(f"Inspect: {log.error}")
        return log

    run([{"id": "warm", "content": "Say one.", "target": "1"}])
    started = time.perf_counter()
    log = run(rows)
    work = time.perf_counter() - started
    outcome = {}
    for sample in log.samples:
        outcome[str(sample.id)] = [m.text for m in sample.messages if m.role == "assistant"]
    usage = list(log.stats.model_usage.values())
    figures = {
        "prompt tokens": sum(used.input_tokens for used in usage),
        "completion tokens": sum(used.output_tokens for used in usage),
    }
    return {"work": work, "startup": started - begun, "outcome": outcome, "figures": figures}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as logs:  # samples are read from it when they are looked at
        print(json.dumps(main(json.loads(sys.argv[1]), logs)))
