"""The engine arguments of vLLM that may be set, what they may be, and how its command says them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from evaluators.errors import BadModel
from evaluators.model import Json
from evaluators.runtimes.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Kind:
    """What values an argument may have."""

    words: str
    """For people, after "must be"."""
    fits: Callable[[object], bool]


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: object, *, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


TEXT = Kind("a word", lambda value: isinstance(value, str) and bool(value))
COUNT = Kind("a whole number from 1", lambda value: _whole(value, least=1))
SEED = Kind("a whole number from 0", lambda value: _whole(value, least=0))
SHARE = Kind("a number above 0, at most 1", lambda v: _number(v) and 0 < v <= 1)  # type: ignore[operator]  # it has just been seen to be a number
SIZE = Kind("a number from 0", lambda v: _number(v) and v >= 0)  # type: ignore[operator]  # it has just been seen to be a number
SWITCH = Kind("true or false", lambda value: isinstance(value, bool))

ENGINE: Mapping[str, Kind] = {
    "attention_backend": TEXT,
    "block_size": COUNT,
    "cpu_offload_gb": SIZE,
    "disable_custom_all_reduce": SWITCH,
    "dtype": TEXT,
    "enable_chunked_prefill": SWITCH,
    "enable_expert_parallel": SWITCH,
    "enable_prefix_caching": SWITCH,
    "enforce_eager": SWITCH,
    "gpu_memory_utilization": SHARE,
    "kv_cache_dtype": TEXT,
    "kv_cache_memory_bytes": COUNT,
    "max_model_len": COUNT,
    "max_num_batched_tokens": COUNT,
    "max_num_seqs": COUNT,
    "pipeline_parallel_size": COUNT,
    "quantization": TEXT,
    "seed": SEED,
    "tensor_parallel_size": COUNT,
}
"""vLLM's own arguments; whatever else it has could run code, reach the network or change texts in
ways that no result would show."""

NAMES: Mapping[str, Kind] = {
    "pretrained": TEXT,
    "revision": TEXT,
    "gguf_file": TEXT,
    "tokenizer": TEXT,
    "device": TEXT,
}
"""Ours: which model and where, as for the other runtimes."""

CAPACITY = frozenset({"gpu_memory_utilization", "kv_cache_memory_bytes", "max_num_seqs"})
"""Arguments that say how much fits at a time, and change no text."""

_ELSEWHERE = {
    "batch_size": "give it on its own, or as max_num_seqs",
    "max_length": "vLLM calls it max_model_len",
    "model": "the model is named by pretrained",
    "load_format": "only safetensors are loaded",
    "trust_remote_code": "it would run the model author's code",
}


def check_arguments(spec: ModelSpec) -> None:
    """Refuse what is unknown, of the wrong kind or dangerous, with what was probably meant.

    Raises:
        BadModel: With the reason.
    """
    known = {**NAMES, **ENGINE}
    for key, value in spec.args.items():
        if key in _ELSEWHERE:
            reason = f"the argument {key!r} is not taken: {_ELSEWHERE[key]}"
            raise BadModel(model=spec.label, reason=reason)
        if key not in known:
            raise BadModel(model=spec.label, reason=_unknown(key, known))
        if value is not None and not known[key].fits(value):
            reason = f"{key} must be {known[key].words}, not {value!r}"
            raise BadModel(model=spec.label, reason=reason)


def _unknown(key: str, known: Mapping[str, Kind]) -> str:
    near = difflib.get_close_matches(key, known, n=2, cutoff=0.6)
    hint = f"; did you mean {' or '.join(near)}?" if near else f"; it takes {', '.join(known)}"
    return f"the vllm runtime has no argument {key!r}{hint}"


def engine_words(args: Mapping[str, Json]) -> list[str]:
    """Return the arguments as vLLM's command line wants them, in a stable order."""
    words: list[str] = []
    for key in sorted(args):
        value, option = args[key], key.replace("_", "-")
        if key not in ENGINE or value is None:
            continue
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", str(value)]
    return words
