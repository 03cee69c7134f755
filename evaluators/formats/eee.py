"""A run as records of Every Eval Ever 0.3.0: one aggregate and one file of samples per task."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evaluators.formats.chat import place, told
from evaluators.formats.lines import write_lines
from evaluators.formats.lm_eval_rows import clean, dump, scored
from evaluators.formats.stored import RunInfo, StoredRun
from evaluators.metrics import Decomposition, Estimate, decompose, get
from evaluators.model import SampleResult
from evaluators.ports import TaskInfo

SCHEMA = "0.3.0"

FIGURES = ("acc@1", "acc@last", "delta", "CL", "CS", "RSS")
"""Metrics of one evaluation; those that are null are left out, for the schema has no null."""

BOUNDS: Mapping[str, tuple[float | str, float | str]] = {
    "delta": (-1.0, 1.0),
    "RSS": ("-Infinity", "Infinity"),
}
"""Smallest and largest value; every other figure is a share."""

HEADLINE = "acc@last"
"""The result that sample records belong to."""


def write_every_eval_ever(out: Path, stored: StoredRun) -> Iterator[Path]:
    """Write `data/<task>/<developer>/<model>/<uuid>.json` and its samples; yield the paths.

    The names follow from the contents, so writing twice gives the same files. Samples without a
    score cannot be told in this format; the aggregate counts them.
    """
    for task, info in stored.tasks.items():
        graded = scored(stored.results[task])
        if not graded:
            continue
        identity = _identity(stored, task)
        folder = out / "data" / Path(*identity["path"])
        name = identity["uuid"]
        records = [dump(_record(result, info, identity)) for result in graded]
        samples = write_lines(folder / f"{name}_samples.jsonl", records)
        yield samples
        aggregate = _aggregate(stored, task, identity=identity, samples=samples)
        text = json.dumps(clean(aggregate), indent=2, ensure_ascii=False, allow_nan=False)
        yield write_lines(folder / f"{name}.json", [text])


def _identity(stored: StoredRun, task: str) -> dict[str, Any]:
    run = stored.run
    model = model_id(run.model)
    told_of = [run.evaluator, dict(run.params), task, model, run.fingerprint]
    told_of += run.identity_of_prompts
    key = json.dumps([*told_of, run.started.isoformat()], sort_keys=True, default=str)
    digest = hashlib.sha256(key.encode()).digest()
    developer, _, name = model.partition("/")
    collection = f"redraft-{run.evaluator}-{_component(task)}"
    return {
        "uuid": str(uuid.UUID(bytes=digest[:16], version=4)),
        "path": (_component(collection), developer, _component(name)),
        "model": model,
        "evaluation": f"{collection}/{model}/{run.started.timestamp()}",
        "name": f"{task} under {run.evaluator}",
    }


def model_id(model: str) -> str:
    """Return the model's name as `developer/name`; a name without an owner is `local`."""
    parts = [_component(part) for part in model.split("/") if part.strip(". ")]
    return "/".join(parts if len(parts) > 1 else ["local", *(parts or ["model"])])


def _component(text: str) -> str:
    """Return text as a portable name of a file."""
    return re.sub(r"[^\w.@+=-]+", "_", text).strip(". ") or "_"


def _aggregate(
    stored: StoredRun, task: str, *, identity: Mapping[str, Any], samples: Path
) -> dict[str, Any]:
    found, run = decompose(stored.trajectories(task)), stored.run
    lines = samples.read_bytes()
    return {
        "schema_version": SCHEMA,
        "evaluation_id": identity["evaluation"],
        "evaluation_timestamp": run.started.isoformat(),
        "retrieved_timestamp": str(run.started.timestamp()),
        "source_metadata": {
            "source_name": "Redraft",
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "third_party",
        },
        "eval_library": {
            "name": "redraft",
            "version": version("redraft"),
            "additional_details": _texts(
                {
                    "evaluator": run.evaluator,
                    "evaluator_version": run.evaluator_version,
                    "params": dict(run.params),
                    "seed": run.seed,
                    **({"prompt_pack": dict(run.prompt_pack)} if run.prompt_pack else {}),
                    **run.packages,
                }
            ),
        },
        "model_info": _model(run, identity["model"]),
        "evaluation_results": [
            _result(name, found, stored.tasks[task], run=run, name=identity["name"])
            for name in FIGURES
            if found[name].value is not None
        ],
        "detailed_evaluation_results": {
            "format": "jsonl",
            "file_path": "/".join(("data", *identity["path"], samples.name)),
            "hash_algorithm": "sha256",
            "checksum": hashlib.sha256(lines).hexdigest(),
            "total_rows": lines.count(b"\n"),
        },
    }


def _model(run: RunInfo, identity: str) -> dict[str, Any]:
    endpoint = run.model_source == "endpoint"
    return {
        "name": run.model,
        "id": identity,
        "inference_engine": {"name": run.model_source or "unknown"},
        "additional_details": _texts(
            {
                "deployment_type": "unknown" if endpoint else "self_deployed",
                "model_availability": "unknown" if endpoint else "open_weights",
                "model_args": dict(run.model_args),
                "commit": run.model_sha,
                "dtype": run.model_dtype,
                "fingerprint": run.fingerprint,
                **{f"role_{role}": dict(model) for role, model in run.roles.items()},
            }
        ),
    }


def _result(
    metric: str, found: Decomposition, info: TaskInfo, *, run: RunInfo, name: str
) -> dict[str, Any]:
    estimate, known = found[metric], get(metric)
    low, high = BOUNDS.get(metric, (0.0, 1.0))
    return {
        "evaluation_result_id": f"{info.name}:{metric}",
        "evaluation_name": name,
        "source_data": _source(info),
        "evaluation_timestamp": run.started.isoformat(),
        "metric_config": {
            "evaluation_description": known.definition,
            "metric_id": f"redraft.{metric}",
            "metric_name": known.title,
            "metric_kind": "accuracy" if metric.startswith("acc@") else f"redraft_{metric.lower()}",
            "metric_unit": "proportion",
            "metric_parameters": {"grader": info.metric, "filter": info.filter},
            "lower_is_better": known.direction == "lower",
            "score_type": "continuous",
            "min_score": low,
            "max_score": high,
        },
        "score_details": _score(estimate),
        "generation_config": {
            "generation_args": {
                "temperature": info.sampling.temperature,
                "top_p": info.sampling.top_p,
                "max_tokens": info.sampling.max_tokens,
            },
            "additional_details": _texts(
                {
                    "num_fewshot": info.num_fewshot,
                    "task_version": info.version,
                    "task_digest": info.digest,
                }
            ),
        },
    }


def _score(estimate: Estimate) -> dict[str, Any]:
    uncertainty: dict[str, Any] = {"num_samples": estimate.n}
    if estimate.has_interval:
        uncertainty["confidence_interval"] = {
            "lower": estimate.low,
            "upper": estimate.high,
            "confidence_level": 0.95,
            "method": estimate.method,
        }
    if estimate.se is not None:
        uncertainty["standard_error"] = {"value": estimate.se, "method": estimate.method}
    counts = {"numerator": estimate.numerator, "denominator": estimate.denominator}
    return {
        "score": estimate.value,
        "details": _texts({"n": estimate.n, "n_total": estimate.n_total, **counts}),
        "uncertainty": uncertainty,
    }


def _source(info: TaskInfo) -> dict[str, Any]:
    config = info.config if isinstance(info.config, Mapping) else {}
    dataset = config.get("dataset_path")
    if not isinstance(dataset, str) or "/" not in dataset or config.get("custom_dataset"):
        return {"dataset_name": info.name, "source_type": "other"}
    return {
        "dataset_name": info.name,
        "source_type": "hf_dataset",
        "hf_repo": dataset,
        "samples_number": info.size,
    }


def _record(result: SampleResult, info: TaskInfo, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return one sample; an evaluation of one answer has no conversation to show."""
    raw = "\n\n".join(message.content for message in result.sample.question)
    gold = result.answers[-1].grade.gold
    sample = result.sample
    return {
        "schema_version": SCHEMA,
        "evaluation_id": identity["evaluation"],
        "model_id": identity["model"],
        "evaluation_name": identity["name"],
        "evaluation_result_id": f"{info.name}:{HEADLINE}",
        "sample_id": sample.id,
        "sample_hash": hashlib.sha256(f"{raw}{gold}".encode()).hexdigest(),
        "input": {
            "raw": raw,
            "reference": [gold],
            "choices": list(sample.choices) or None,
        },
        **_said(result, info),
        "evaluation": {
            "score": result.answers[-1].grade.score,
            "is_correct": result.answers[-1].grade.correct,
            "num_turns": len(result.answers),
        },
        "token_usage": {
            "input_tokens": result.tokens_in,
            "output_tokens": result.tokens_out,
            "total_tokens": result.tokens_in + result.tokens_out,
        },
        "performance": {"latency_ms": result.seconds * 1000},
        "metadata": _facts(result, info),
    }


def _said(result: SampleResult, info: TaskInfo) -> dict[str, Any]:
    if len(result.answers) == 1 and result.calls <= 1:
        only = result.answers[0]
        return {
            "interaction_type": "single_turn",
            "output": {"raw": [only.text]},
            "messages": None,
            "answer_attribution": [
                _attribution(0, "output.raw", only.grade.extracted, info, last=True)
            ],
        }
    turns = told(result)
    return {
        "interaction_type": "multi_turn",
        "output": None,
        "messages": [
            {"turn_idx": i, "role": turn.role, "content": turn.content}
            for i, turn in enumerate(turns)
        ],
        "answer_attribution": [
            _attribution(
                place(turns, answer.node),
                "messages[turn_idx].content",
                answer.grade.extracted,
                info,
                last=number == len(result.answers),
            )
            for number, answer in enumerate(result.answers, start=1)
        ],
    }


def _attribution(
    turn: int, source: str, extracted: str | None, info: TaskInfo, *, last: bool
) -> dict[str, Any]:
    return {
        "turn_idx": turn,
        "source": source,
        "extracted_value": extracted or "",
        "extraction_method": f"lm-eval filter {info.filter}",
        "is_terminal": last,
    }


def _facts(result: SampleResult, info: TaskInfo) -> dict[str, str]:
    """Return what the schema has no place for, as texts; `correct` tells of every answer."""
    return _texts(
        {
            "task": info.name,
            "replicate": result.replicate,
            "cluster": result.sample.cluster,
            "correct": [answer.grade.correct for answer in result.answers],
            "score": [answer.grade.score for answer in result.answers],
            "parsed": [answer.grade.extracted is not None for answer in result.answers],
            "truncated": [answer.truncated for answer in result.answers],
            "changed": [answer.changed for answer in result.answers],
            "calls": result.calls,
            "stop_reason": result.stop_reason,
            "oracle": result.oracle,
        }
    )


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    """Return the values as texts, which is all that the schema's free fields take."""
    return {
        key: value if isinstance(value, str) else json.dumps(_plain(value))
        for key, value in values.items()
        if value is not None and value != ""
    }


def _plain(value: object) -> object:
    match value:
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case str():
            return value
        case Sequence():
            return [_plain(item) for item in value]
    return value
