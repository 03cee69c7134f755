"""Download models from the Hugging Face Hub, in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaluators.errors import BadModel
from evaluators.runtimes.isolation import child_environment
from evaluators.runtimes.weights import is_allowed

MAX_BYTES = 500 * 1000**3
"""Most bytes of one model."""

MAX_FILES = 1000
"""Most files of one model."""

RESOLVE_TIMEOUT = 60.0
"""Seconds to wait for the Hub's word on a revision."""

FETCH_TIMEOUT = 6 * 3600.0
"""Seconds that a download may take."""

_REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_VARIABLES = (
    "HF_ENDPOINT",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "https_proxy",
    "http_proxy",
    "no_proxy",
)


def resolve(
    repository: str,
    revision: str = "main",
    *,
    token: str | None = None,
    timeout: float = RESOLVE_TIMEOUT,
) -> str:
    """Return the commit that a branch, tag or short commit stands for now.

    Raises:
        BadModel: There is no such repository or revision, it is gated, or the Hub is out of reach.
    """
    _check_name(repository)
    asked = {"do": "resolve", "repository": repository, "revision": revision, "token": token}
    return _ask(repository, asked, timeout=timeout)


def fetch(
    repository: str,
    commit: str,
    *,
    gguf_file: str | None = None,
    token: str | None = None,
    max_bytes: int = MAX_BYTES,
    timeout: float = FETCH_TIMEOUT,
) -> Path:
    """Download the model's files, and no others, and return the folder they are in.

    Args:
        commit: 40 hexadecimal digits, as `resolve` returns them.
        gguf_file: Which one to take of a repository with several GGUF files.
        max_bytes: Larger models are refused before anything is downloaded.
        timeout: Seconds.

    Raises:
        BadModel: As for `resolve`, or the repository has no weights that may be loaded.
    """
    _check_name(repository)
    if not _COMMIT.fullmatch(commit):
        raise BadModel(
            model=repository, reason=f"{commit!r} is not a commit of 40 hexadecimal digits"
        )
    asked = {
        "do": "fetch",
        "repository": repository,
        "revision": commit,
        "token": token,
        "gguf_file": gguf_file,
        "max_bytes": max_bytes,
    }
    return Path(_ask(repository, asked, timeout=timeout))


def _check_name(repository: str) -> None:
    if not _REPOSITORY.fullmatch(repository) or ".." in repository:
        raise BadModel(model=repository, reason="a repository is named owner/name")


def _ask(repository: str, asked: Mapping[str, object], *, timeout: float) -> str:
    env = child_environment(_VARIABLES) | {
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    try:
        # The token travels on standard input: command lines and environments can be read by others.
        ran = subprocess.run(
            [sys.executable, "-m", "evaluators.runtimes.hub"], input=json.dumps(asked), env=env,
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        reason = f"the Hub did not finish within {timeout:g} s"
        raise BadModel(model=repository, reason=reason) from error
    try:
        answer = json.loads(ran.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError) as error:
        last = ran.stderr.strip().splitlines()[-1:] or [f"exit status {ran.returncode}"]
        raise BadModel(model=repository, reason=f"the download failed: {last[0]}") from error
    if "reason" in answer:
        raise BadModel(model=repository, reason=answer["reason"])
    return str(answer["value"])


def _main() -> None:
    """Do what standard input asks, in the process of its own."""
    asked = json.loads(sys.stdin.read())
    try:
        answer = {"value": _resolve(asked) if asked["do"] == "resolve" else _fetch(asked)}
    except Exception as error:  # noqa: BLE001 - the edge of the process: every failure becomes a reason
        answer = {"reason": _reason(error, asked["revision"])}
    sys.stdout.write(json.dumps(answer) + "\n")


class _Unfit(Exception):
    """The repository holds nothing that may be loaded; the text says why."""


def _info(asked: Mapping[str, Any], *, files: bool) -> Any:
    from huggingface_hub import HfApi  # imported in the child only

    api = HfApi(token=asked["token"] or False)
    return api.model_info(
        asked["repository"], revision=asked["revision"], files_metadata=files, timeout=30
    )


def _resolve(asked: Mapping[str, Any]) -> str:
    info = _info(asked, files=False)
    if getattr(info, "disabled", False):
        raise _Unfit("the repository has been disabled")
    return str(info.sha)


def _fetch(asked: Mapping[str, Any]) -> str:
    from huggingface_hub import snapshot_download

    info = _info(asked, files=True)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
    names = _wanted(sizes, asked["gguf_file"])
    total = sum(sizes[name] for name in names)
    if total > asked["max_bytes"]:
        raise _Unfit(f"its files have {total} bytes, more than the {asked['max_bytes']} allowed")
    if len(names) > MAX_FILES:
        raise _Unfit(f"it has {len(names)} files, more than the {MAX_FILES} allowed")
    return snapshot_download(
        asked["repository"],
        revision=asked["revision"],
        allow_patterns=names,
        token=asked["token"] or False,
    )


def _wanted(sizes: Mapping[str, int], gguf_file: str | None) -> list[str]:
    """Return the files to download: one format of weights, and what goes with it."""
    allowed = [name for name in sizes if "/" not in name and is_allowed(name)]
    gguf = [name for name in allowed if name.endswith(".gguf")]
    if gguf_file:
        if gguf_file not in gguf:
            raise _Unfit(
                f"it has no file {gguf_file!r}; its GGUF files are {', '.join(gguf) or 'none'}"
            )
        return [name for name in allowed if name not in gguf or name == gguf_file]
    if any(name.endswith(".safetensors") for name in allowed):
        return [name for name in allowed if name not in gguf]
    if len(gguf) == 1:
        return allowed
    if gguf:
        raise _Unfit(f"it has several GGUF files, choose one with gguf_file=: {', '.join(gguf)}")
    raise _Unfit(
        "it has no safetensors or GGUF weights, and loading pickled weights would run code"
    )


def _reason(error: Exception, revision: str) -> str:
    from huggingface_hub import errors

    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    # The bases are the HTTP library's own errors, whichever library the Hub's client uses.
    transport = errors.HfHubHTTPError.__bases__
    match error:
        case _Unfit():
            reason = str(error)
        case errors.GatedRepoError():
            reason = "the repository is gated: its owner must grant access to the token's account"
        case errors.RevisionNotFoundError():
            reason = f"the repository has no revision {revision!r}"
        case errors.RepositoryNotFoundError():
            reason = "there is no such public repository on the Hub"
        case errors.HfHubHTTPError():
            status = getattr(error.response, "status_code", "an error")
            reason = f"the Hub at {endpoint} answered {status}"
        case _ if isinstance(error, transport):
            reason = f"the Hub at {endpoint} cannot be reached: {type(error).__name__}"
        case _:
            reason = f"the download failed: {type(error).__name__}: {error}"
    return reason


if __name__ == "__main__":
    _main()
