"""How a runtime's child is confined, and which of our environment it may see."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import evaluators
from evaluators.errors import RuntimeUnavailable

Isolation = Literal["bwrap", "process_group"]
"""`bwrap`: a PID namespace of its own, and no network unless it is needed. `process_group`: nothing
but a session to kill; only for models that the operator trusts."""

_ALLOWED = frozenset({
    "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV",
    "PYTHONPATH", "PYTHONHASHSEED", "LD_LIBRARY_PATH", "XDG_CACHE_HOME", "REDRAFT_CACHE", "HF_HOME",
    "HF_HUB_CACHE", "SSL_CERT_FILE", "SSL_CERT_DIR", "NVIDIA_VISIBLE_DEVICES",
    "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR",
})  # fmt: skip
_ALLOWED_PREFIXES = (
    "OMP_",
    "GOMP_",
    "MKL_",
    "CUDA_",
    "HIP_",
    "ROCR_",
    "NCCL_",
    "TORCH_",
    "PYTORCH_",
)
_FIXED = {
    "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1", "PYTHONNOUSERSITE": "1",
}  # fmt: skip


HIDDEN = "REDRAFT_HIDE"
"""Variable with folders that a confined child finds empty: the database and its passwords."""


def child_environment(extra: Iterable[str] = ()) -> dict[str, str]:
    """Return the few variables a child may see: no database, no secret, no Hub token."""
    names = _ALLOWED | set(extra)
    env = {k: v for k, v in os.environ.items() if k in names or k.startswith(_ALLOWED_PREFIXES)}
    env |= _FIXED
    # Threads that spin while they wait bring a machine with more work than cores almost to a halt;
    # threads that never spin lose a sixth of the speed on an idle one.
    env.setdefault("GOMP_SPINCOUNT", "3000")
    root = Path(evaluators.__file__).parent.parent
    if "site-packages" not in root.parts:  # a checkout: the child must find it wherever we stand
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), env.get("PYTHONPATH")]))
    return env


def confine(command: list[str], *, network: bool) -> tuple[list[str], Isolation]:
    """Return the command inside the best isolation that works here.

    Raises:
        RuntimeUnavailable: REDRAFT_REQUIRE_SANDBOX is set and bubblewrap does not work.
    """
    wrapper = _wrapper(network=network)
    if _works(tuple(wrapper)):
        return [*wrapper, *command], "bwrap"
    if os.environ.get("REDRAFT_REQUIRE_SANDBOX") == "1":
        reason = "REDRAFT_REQUIRE_SANDBOX is set, but bubblewrap (bwrap) is missing or blocked here"
        raise RuntimeUnavailable(reason=reason)
    return command, "process_group"


def _wrapper(*, network: bool) -> list[str]:
    options = ["--unshare-pid", "--die-with-parent", "--dev-bind", "/", "/", "--proc", "/proc"]
    listed = filter(None, os.environ.get(HIDDEN, "").split(os.pathsep))
    hidden = [path for path in listed if Path(path).is_dir()]
    return [
        shutil.which("bwrap") or "bwrap",
        *options,
        *(word for path in hidden for word in ("--tmpfs", path)),
        *([] if network else ["--unshare-net"]),
        "--",
    ]


@functools.cache
def _works(wrapper: tuple[str, ...]) -> bool:
    """Try the wrapper once: where user namespaces are restricted it is there and still fails."""
    try:
        tried = subprocess.run(  # noqa: S603 - our own words only
            [*wrapper, "/bin/true"], capture_output=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0
