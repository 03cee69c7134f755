"""How the processes that import lm-eval are started: which command, which environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_PASSED = {
    "HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "LOGNAME", "NO_PROXY", "PATH", "REDRAFT_CACHE",
    "SSL_CERT_DIR", "SSL_CERT_FILE", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "TZ", "USER",
    "HTTP_PROXY", "HTTPS_PROXY", "REQUESTS_CA_BUNDLE", "VIRTUAL_ENV",
}  # fmt: skip
_PASSED_PREFIXES = ("HF_", "HUGGINGFACE_", "LC_", "OMP_", "XDG_")
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
    kept = {
        name: value
        for name, value in os.environ.items()
        if (name.upper() in _PASSED or name.startswith(_PASSED_PREFIXES)) and name not in _NEVER
    }
    path = [str(Path(entry).resolve()) for entry in sys.path if Path(entry).exists()]
    found = {"PYTHONPATH": os.pathsep.join(path), "PYTHONIOENCODING": "utf-8"}
    return kept | _QUIET | _REPEATABLE | found
