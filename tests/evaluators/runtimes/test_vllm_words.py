"""What vLLM is told on its command line, and what its last words mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evaluators.errors import BadModel
from evaluators.model import Json
from evaluators.runtimes import ModelSpec
from evaluators.runtimes.vllm_args import ENGINE, check_arguments, engine_words
from evaluators.runtimes.vllm_server.reasons import is_busy, reason_of, shortage_of

GOLDEN = Path(__file__).parents[2] / "golden" / "runtimes" / "vllm_last_words.json"
CASES: dict[str, dict[str, Any]] = json.loads(GOLDEN.read_text("utf-8"))


class TestArguments:
    def test_are_said_as_vllm_wants_them(self) -> None:
        args: dict[str, Json] = {
            "tensor_parallel_size": 2,
            "pretrained": "somewhere",
            "dtype": "bfloat16",
            "enforce_eager": True,
            "enable_prefix_caching": False,
            "gpu_memory_utilization": 0.85,
            "quantization": None,
        }
        assert engine_words(args) == [
            "--dtype", "bfloat16", "--no-enable-prefix-caching", "--enforce-eager",
            "--gpu-memory-utilization", "0.85", "--tensor-parallel-size", "2",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("args", "reason"),
        [
            ({"tensor_paralel_size": 2}, "did you mean tensor_parallel_size"),
            ({"nonsense": 1}, "it takes pretrained"),
            ({"tensor_parallel_size": "two"}, "must be a whole number from 1, not 'two'"),
            ({"max_model_len": 0}, "must be a whole number from 1"),
            ({"max_num_seqs": True}, "must be a whole number from 1"),
            ({"gpu_memory_utilization": 1.5}, "must be a number above 0, at most 1"),
            ({"enforce_eager": "yes"}, "must be true or false"),
            ({"quantization": 4}, "must be a word"),
            ({"trust_remote_code": True}, "it would run the model author's code"),
            ({"load_format": "pt"}, "only safetensors are loaded"),
            ({"batch_size": 4}, "max_num_seqs"),
            ({"max_length": 4}, "vLLM calls it max_model_len"),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
    )
    def test_refuses(self, args: dict[str, Json], reason: str) -> None:
        spec = ModelSpec("vllm", "vllm", {"pretrained": "somewhere", **args})
        with pytest.raises(BadModel, match=reason):
            check_arguments(spec)

    def test_none_that_could_open_a_route_or_run_code_is_known(self) -> None:
        dangerous = {"trust_remote_code", "api_key", "host", "port", "middleware", "worker_cls"}
        assert not dangerous & ENGINE.keys()


class TestLastWords:
    @pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
    def test_are_understood(self, case: dict[str, Any]) -> None:
        reason = reason_of(case["log"])
        assert reason == case["reason"]
        assert (shortage_of(reason) if reason else None) == case["shortage"]
        assert (is_busy(reason) if reason else False) == case.get("busy", False)
