"""Runtimes: a model is a child process that serves an OpenAI-compatible API on a Unix socket."""

from evaluators.runtimes.canary import canary
from evaluators.runtimes.endpoint.guard import EgressPolicy
from evaluators.runtimes.kinds import Preflight, RuntimeKind, runtime_kind, runtime_names
from evaluators.runtimes.launch import ModelInfo, RunningModel, open_runtime
from evaluators.runtimes.preflight import preflight
from evaluators.runtimes.spec import ModelSpec, parse_model_args
from evaluators.runtimes.weights import bundled_models

__all__ = [
    "EgressPolicy",
    "ModelInfo",
    "ModelSpec",
    "Preflight",
    "RunningModel",
    "RuntimeKind",
    "bundled_models",
    "canary",
    "open_runtime",
    "parse_model_args",
    "preflight",
    "runtime_kind",
    "runtime_names",
]
