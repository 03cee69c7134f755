"""Runs in a Python that has inspect-ai, and in nothing else: writes and reads its logs.

A request is one JSON object on standard input, the reply one on standard output, so that Inspect's
requirements never meet ours. Only the standard library and inspect-ai may be imported here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

STOPS = {"stop": "stop", "length": "max_tokens", "content_filter": "content_filter"}


def main() -> None:
    """Serve one request; a failure is a reply too."""
    request = json.load(sys.stdin)
    doing = {"read": read, "write": write}[request["do"]]
    try:
        reply: dict[str, Any] = {"result": doing(request)}
    except Exception as error:  # noqa: BLE001 - the parent words it; Inspect raises anything
        reply = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    json.dump(reply, sys.stdout)


def write(request: Mapping[str, Any]) -> str:
    """Write one log with Inspect's own writer; return its path."""
    log = import_module("inspect_ai.log")
    samples = [_sample(log, one) for one in request["samples"]]
    made = log.EvalLog(
        status="success",
        eval=log.EvalSpec.model_validate(request["eval"]),
        plan=log.EvalPlan.model_validate(request["plan"]),
        results=log.EvalResults.model_validate(request["results"]),
        stats=log.EvalStats.model_validate(request["stats"]),
        samples=samples,
    )
    log.write_eval_log(made, request["path"], format="eval")
    return str(request["path"])


def _sample(log: Any, told: Mapping[str, Any]) -> Any:
    model, scorer = import_module("inspect_ai.model"), import_module("inspect_ai.scorer")
    messages = [_message(model, one) for one in told["messages"]]
    last = told["output"]
    choice = model.ChatCompletionChoice(
        message=model.ChatMessageAssistant(content=last["text"], source="generate"),
        stop_reason=STOPS.get(last["finish_reason"] or "", "unknown"),
    )
    usage = {name: model.ModelUsage(**count) for name, count in told["usage"].items()}
    total = next(iter(usage.values()), None)
    return log.EvalSample(
        id=told["id"],
        epoch=told["epoch"],
        input=[_message(model, one) for one in told["input"]],
        choices=told["choices"] or None,
        target=told["target"],
        messages=messages,
        output=model.ModelOutput(model=told["model"], choices=[choice], usage=total),
        scores={name: scorer.Score(**score) for name, score in told["scores"].items()} or None,
        metadata=told["metadata"],
        model_usage=usage,
        role_usage={n: model.ModelUsage(**count) for n, count in told["role_usage"].items()},
        total_time=told["seconds"],
        error=_error(log, told["error"]),
        uuid=told["uuid"],
    )


def _message(model: Any, told: Mapping[str, str]) -> Any:
    kinds = {
        "system": model.ChatMessageSystem,
        "user": model.ChatMessageUser,
        "assistant": model.ChatMessageAssistant,
    }
    return kinds[told["role"]](content=told["content"], id=told.get("id"))


def _error(log: Any, reason: str | None) -> Any:
    if reason is None:
        return None
    kind = log.EvalSample.model_fields["error"].annotation.__args__[0]
    return kind(message=reason, traceback="", traceback_ansi="")


def read(request: Mapping[str, Any]) -> dict[str, Any]:
    """Read one log with Inspect's own reader."""
    log = import_module("inspect_ai.log")
    found = log.read_eval_log(request["path"], resolve_attachments=True)
    return {
        "status": found.status,
        "eval": found.eval.model_dump(mode="json"),
        "samples": [_told(sample) for sample in found.samples or ()],
    }


def _told(sample: Any) -> dict[str, Any]:
    return {
        "id": str(sample.id),
        "epoch": sample.epoch,
        "input": _chat(sample.input),
        "choices": sample.choices or [],
        "target": sample.target if isinstance(sample.target, str) else list(sample.target),
        "messages": _chat(sample.messages),
        "completion": sample.output.completion,
        "stop_reason": sample.output.stop_reason if sample.output.choices else None,
        "scores": {
            name: {"value": score.value, "answer": score.answer, "explanation": score.explanation}
            for name, score in (sample.scores or {}).items()
        },
        "usage": {n: u.model_dump(mode="json") for n, u in sample.model_usage.items()},
        "metadata": json.loads(json.dumps(sample.metadata, default=str)),
        "seconds": sample.total_time,
        "error": sample.error.message if sample.error else None,
    }


def _chat(messages: Any) -> list[dict[str, str]]:
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    return [{"role": message.role, "content": message.text} for message in messages]


if __name__ == "__main__":
    main()
