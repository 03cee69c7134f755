"""A run as Hugging Face's `.eval_results`: one YAML file for a model's repository."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evaluators.formats.lines import write_lines
from evaluators.formats.lm_eval_files import sanitised
from evaluators.formats.stored import StoredRun
from evaluators.metrics import Estimate, decompose
from evaluators.ports import TaskInfo

FIGURES = ("acc@1", "acc@last")


def write_hub(out: Path, stored: StoredRun) -> Iterator[Path]:
    """Write `<model>/.eval_results/redraft-<run>.yaml`; nothing is sent to the Hub.

    Each entry names round, evaluator and version in its notes, with n and interval.
    """
    import yaml

    entries = [
        _entry(stored, info, name, estimate)
        for task, info in stored.tasks.items()
        for name, estimate in decompose(stored.trajectories(task)).estimates.items()
        if name in FIGURES and estimate.value is not None
    ]
    name = f"redraft-{sanitised(stored.run.name)}.yaml"
    path = out / sanitised(stored.run.model) / ".eval_results" / name
    text = yaml.safe_dump(entries, sort_keys=False, allow_unicode=True)
    yield write_lines(path, text.splitlines())


def _entry(stored: StoredRun, info: TaskInfo, name: str, estimate: Estimate) -> dict[str, Any]:
    run = stored.run
    config = info.config if isinstance(info.config, Mapping) else {}
    dataset = config.get("dataset_path")
    hosted = isinstance(dataset, str) and "/" in dataset and not config.get("custom_dataset")
    interval = f", 95 % {estimate.low:.4f} to {estimate.high:.4f}" if estimate.has_interval else ""
    return {
        "dataset": {"id": dataset if hosted else f"redraft/{info.name}", "task_id": info.name},
        "value": round((estimate.value or 0.0) * 100, 2),
        "date": run.started.date().isoformat(),
        "source": {"name": "Redraft"},
        "notes": (
            f"{name} of {run.evaluator} {run.evaluator_version}, "
            f"n={estimate.n}{interval} ({estimate.method}); commit {run.model_sha or 'unknown'}"
        ),
    }
