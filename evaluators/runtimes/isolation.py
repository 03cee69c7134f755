"""How a runtime's child is confined, and which of our environment it may see."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import evaluators
from evaluators.environment import inherited
from evaluators.errors import RuntimeUnavailable
from evaluators.runtimes.weights import hub_cache

Isolation = Literal["bwrap", "process_group", "none"]
"""`bwrap`: a PID namespace of its own, a file system to read, and no network unless it is needed.
`process_group`: nothing but a session to kill; only for models that the operator trusts."""

_ALLOWED = frozenset({
    "PYTHONPATH", "PYTHONHASHSEED", "HF_HOME", "HF_HUB_CACHE", "NVIDIA_VISIBLE_DEVICES",
    "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR",
})  # fmt: skip
_ALLOWED_PREFIXES = ("GOMP_", "MKL_", "CUDA_", "HIP_", "ROCR_", "NCCL_", "TORCH_", "PYTORCH_")
_FIXED = {
    "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1", "PYTHONNOUSERSITE": "1",
}  # fmt: skip


HIDDEN = "REDRAFT_HIDE"
"""Variable with folders that a confined child finds empty: the database and its passwords."""

_EMPTIED = ("/tmp", "/var/tmp", "/run")  # noqa: S108 - these are what is taken away
"""Folders that the child gets empty and of its own: other people's files, and services' sockets."""

_GPU_NODES = ("nvidia*", "dri", "kfd")
"""Device files of GPUs, below /dev."""

_KEPT_IN_RUN = ("/run/opengl-driver", "/run/current-system")
"""Where NixOS keeps its drivers and programs."""

_RESOLVER = ("/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager")
"""Where the addresses of name servers are, for children that need the network."""


def child_environment(extra: Iterable[str] = ()) -> dict[str, str]:
    """Return the few variables a child may see: no database, no secret, no Hub token."""
    env = inherited({*_ALLOWED, *extra}, _ALLOWED_PREFIXES) | _FIXED
    # Threads that spin while they wait bring a machine with more work than cores almost to a halt;
    # threads that never spin lose a sixth of the speed on an idle one.
    env.setdefault("GOMP_SPINCOUNT", "3000")
    root = _code_root()
    if "site-packages" not in root.parts:  # a checkout: the child must find it wherever we stand
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), env.get("PYTHONPATH")]))
    return env


def confine(
    command: list[str],
    *,
    network: bool,
    writable: Sequence[Path] = (),
    readable: Sequence[Path] = (),
) -> tuple[list[str], Isolation]:
    """Return the command inside the best isolation that works here.

    Args:
        command: What to run.
        network: Leave the network within reach.
        writable: Folders that the child may change; the rest of the file system can only be read.
        readable: Folders and files that the child must find even where it would find nothing, in
            the folder for temporary files say.

    Raises:
        RuntimeUnavailable: REDRAFT_REQUIRE_SANDBOX is set and bubblewrap does not work.
    """
    if _works():
        return [*_wrapper(network=network, writable=writable, readable=readable), *command], "bwrap"
    if os.environ.get("REDRAFT_REQUIRE_SANDBOX") == "1":
        reason = "REDRAFT_REQUIRE_SANDBOX is set, but bubblewrap (bwrap) is missing or blocked here"
        raise RuntimeUnavailable(reason=reason)
    return command, "process_group"


def _wrapper(
    *, network: bool, writable: Sequence[Path] = (), readable: Sequence[Path] = ()
) -> list[str]:
    kept = [*_places_of_code(), *map(Path, _KEPT_IN_RUN), *readable]
    if network:
        kept += map(Path, _RESOLVER)
    listed = filter(None, os.environ.get(HIDDEN, "").split(os.pathsep))
    return [
        _bwrap(),
        "--unshare-pid", "--unshare-ipc", "--die-with-parent", "--cap-drop", "ALL",
        "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev",
        *(word for node in _gpu_nodes() for word in ("--dev-bind", node, node)),
        *(word for path in _emptied() for word in ("--tmpfs", path)),
        *(word for path in _reachable(kept) for word in ("--ro-bind-try", path, path)),
        *(word for path in listed if Path(path).is_dir() for word in ("--tmpfs", path)),
        *(word for path in map(str, writable) for word in ("--bind", path, path)),
        *([] if network else ["--unshare-net"]),
        "--setenv", "TMPDIR", "/tmp",  # noqa: S108 - the child's own
        "--",
    ]  # fmt: skip


def _bwrap() -> str:
    return shutil.which("bwrap") or "bwrap"


def _gpu_nodes() -> Iterator[str]:
    """Yield the device files of GPUs; the devices that a child may use are named to it apart."""
    for pattern in _GPU_NODES:
        yield from sorted(map(str, Path("/dev").glob(pattern)))


def _emptied() -> list[str]:
    """Return the folders to empty, with ours for temporary files if that is elsewhere."""
    folders = [*_EMPTIED, tempfile.gettempdir()]
    real = dict.fromkeys(str(Path(folder).resolve()) for folder in folders)
    return [folder for folder in real if Path(folder).is_dir()]


def _places_of_code() -> list[Path]:
    """Return where the programs are that a child runs, which may be in a temporary folder."""
    return [_code_root(), Path(sys.prefix), Path(sys.base_prefix), hub_cache()]


def _code_root() -> Path:
    return Path(evaluators.__file__).parent.parent


def _reachable(paths: Sequence[Path]) -> list[str]:
    """Return those of the paths, links followed, that emptying folders would hide."""
    emptied = _emptied()
    found = dict.fromkeys(path for given in paths for path in (given.absolute(), given.resolve()))
    return [
        str(path)
        for path in found
        if any(path.is_relative_to(folder) and str(path) != folder for folder in emptied)
    ]


def _works() -> bool:
    return _tried(os.environ.get("PATH", ""))


@functools.cache
def _tried(path: str) -> bool:
    """Try the wrapper once: where user namespaces are restricted it is there and still fails.

    Args:
        path: Where programs are looked for; another path may hold another bubblewrap, or none.
    """
    del path
    try:
        tried = subprocess.run(  # noqa: S603 - our own words only
            [*_wrapper(network=False), "/bin/true"], capture_output=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0
