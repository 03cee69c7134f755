"""lm-eval's side of a benchmark: `local-chat-completions` against a served model, prints a `Run`.

Runs in the environment of requirements/bench.txt. The argument is JSON: `url`, `name`, `task`,
`limit`, `in_flight`. The work is lm-eval's own `evaluate`: contexts, requests, grading.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def main(asked: dict) -> dict:
    """Load task and model, then time lm-eval's `evaluate`."""
    begun = time.perf_counter()
    import logging

    from lm_eval import evaluate
    from lm_eval.api.registry import get_model
    from lm_eval.tasks import TaskManager

    logging.disable(logging.INFO)
    here = Path(__file__).resolve().parent
    bundled = here.parents[1] / "evaluators" / "tasks" / "bundled"
    manager = TaskManager(include_path=[str(here / "tasks"), str(bundled)], include_defaults=False)
    tasks = manager.load([asked["task"]])["tasks"]
    lm = get_model("local-chat-completions").create_from_arg_obj(
        {
            "model": asked["name"],
            "base_url": f"{asked['url']}/chat/completions",
            "num_concurrent": asked["in_flight"],
            "tokenizer_backend": None,
            "max_retries": 3,
        },
        {"batch_size": 1},
    )
    started = time.perf_counter()
    found = evaluate(
        lm=lm, task_dict=tasks, limit=asked["limit"], apply_chat_template=True, log_samples=True
    )
    work = time.perf_counter() - started
    samples = found["samples"][asked["task"]]
    first = asked.get("filter") or samples[0]["filter"]
    outcome = {}
    for sample in samples:
        if sample["filter"] != first:
            continue
        (metric,) = sample["metrics"]
        graded = sample["resps"][0] if asked.get("outcome") == "texts" else [sample[metric]]
        outcome[str(sample["doc_id"])] = graded
    return {"work": work, "startup": started - begun, "outcome": outcome, "figures": {}}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
