"""How the processes that import lm-eval are started: which command, which environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from evaluators.environment import inherited

_PASSED = {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE"}
"""For data sets that are fetched from the Hub; lower-case spellings count as well."""

DATA_DIR = "REDRAFT_DATA_DIR"
"""Variable that names a folder with data sets that are not to be fetched."""

SOURCES = "REDRAFT_SOURCES"
"""Variable that names a TOML file that says where data sets come from, over what packages say."""

_PASSED_PREFIXES = ("HF_", "HUGGINGFACE_")
_NEVER = {"HF_DATASETS_TRUST_REMOTE_CODE"}

_QUIET = {
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "LMEVAL_LOG_LEVEL": "CRITICAL",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
}

_REPEATABLE = {"PYTHONHASHSEED": "0"}
"""Task code that walks over sets gives the same documents in every process."""


def child_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs one of our modules in a fresh interpreter."""
    return [sys.executable, "-P", "-W", "ignore", "-m", module, *arguments]


def child_environment() -> dict[str, str]:
    """Return what a task's code may know of our environment: no keys, no database."""
    proxies = _PASSED | {name.lower() for name in _PASSED}
    found = inherited(proxies | {DATA_DIR, SOURCES}, _PASSED_PREFIXES)
    kept = {name: value for name, value in found.items() if name not in _NEVER}
    path = [str(Path(entry).resolve()) for entry in sys.path if Path(entry).exists()]
    modules = {"PYTHONPATH": os.pathsep.join(path), "PYTHONIOENCODING": "utf-8"}
    return kept | _QUIET | _REPEATABLE | modules
