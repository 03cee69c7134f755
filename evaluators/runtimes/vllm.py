"""The runtime `vllm`: a supervised vLLM server, on a GPU or on a processor."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from evaluators.errors import BadModel
from evaluators.model import Json
from evaluators.runtimes.cache import cache_dir
from evaluators.runtimes.files import Supported, inspect_files, read_config
from evaluators.runtimes.kinds import SERVED, Preflight, RuntimeKind
from evaluators.runtimes.spec import ModelSpec, stable_json
from evaluators.runtimes.unpacked import LIMIT, MODEL, unpacked_home, writable_home
from evaluators.runtimes.vllm_args import (
    CAPACITY,
    ENGINE,
    NAMES,
    check_arguments,
    engine_words,
)
from evaluators.runtimes.vllm_install import (
    Installation,
    find_installation,
    installation_here,
    supported,
)
from evaluators.runtimes.vllm_server.plan import SERVED_AS, Plan
from evaluators.runtimes.weights import Located, identity, locate

_SEQUENCES = {"cpu": 64, "cuda": 256}
"""Sequences at a time, unless max_num_seqs says otherwise or a larger batch size is asked for:
vLLM takes in what comes, and more rows cost nothing until they are used."""

_CACHE_SHARE = 4
_CACHE_MOST = 4 * 2**30
"""Bytes of the key-value cache on a processor: a quarter of the free memory, but no more than this;
by itself vLLM would take nearly all of the machine's."""

_FEW_CORES = 4
"""With so few, none is set aside for vLLM's scheduler."""

_OWN = ("VLLM_BATCH_INVARIANT", "VLLM_CPU_KVCACHE_SPACE", "VLLM_CPU_NUM_OF_RESERVED_CPU",
        "VLLM_CPU_OMP_THREADS_BIND", "VLLM_LOGGING_LEVEL", "LD_PRELOAD")  # fmt: skip
"""Variables of vLLM that the operator may set; none opens a route or runs code."""


class _Whatever(list[str]):
    """Holds every name: where vLLM cannot be asked, it decides itself when it starts."""

    def __contains__(self, name: object) -> bool:
        return True


_ANYTHING: Supported = {"models": [], "architectures": _Whatever(), "gguf": _Whatever()}


def _check(spec: ModelSpec) -> Preflight:
    """Look at arguments and files; a machine that only takes submissions needs no vLLM for that."""
    if spec.model != "vllm":
        reason = f"the vllm runtime runs one kind of model, vllm, not {spec.model!r}"
        raise BadModel(model=spec.label, reason=reason)
    check_arguments(spec)
    located = _located(spec)
    _tokenizer(spec)
    if located.gguf_file and unpacked_home(located, unpacker="vllm") is None:
        reason = f"GGUF files above {LIMIT // 10**6} MB are not unpacked; use its safetensors"
        raise BadModel(model=spec.label, reason=reason)
    installation = installation_here()
    known = supported(installation) if installation else None
    if installation:
        _check_installation(spec, located, installation)
    return inspect_files(spec.label, located, known=known or _ANYTHING)


def _check_installation(spec: ModelSpec, located: Located, installation: Installation) -> None:
    asked, found = spec.args.get("device"), device(installation)
    if asked and str(asked).partition(":")[0] != found:
        reason = f"it is to run on {asked}, but the vLLM that is installed here runs on {found}"
        raise BadModel(model=spec.label, reason=reason)
    if located.gguf_file and installation.python is None:
        raise BadModel(model=spec.label, reason="without vLLM's Python no GGUF file is unpacked")


def _located(spec: ModelSpec) -> Located:
    pretrained, gguf = spec.args.get("pretrained"), spec.args.get("gguf_file")
    if not isinstance(pretrained, str):
        reason = "it needs pretrained=<folder, repository or bundled name>"
        raise BadModel(model=spec.label, reason=reason)
    revision = str(spec.args.get("revision") or "main")
    return locate(pretrained, revision=revision, gguf_file=str(gguf) if gguf else None)


def _tokenizer(spec: ModelSpec) -> Path | None:
    named = spec.args.get("tokenizer")
    return locate(str(named)).folder if named else None


def _unpacked(located: Located, installation: Installation) -> Path | None:
    """Return the folder that a GGUF model's safetensors belong in, or None where it has none."""
    unpacker = f"vllm-transformers-{installation.versions.get('transformers', 'unknown')}"
    return unpacked_home(located, unpacker=unpacker)


def device(installation: Installation) -> str:
    """Return where this vLLM computes."""
    return "cpu" if installation.cpu else "cuda"


def dtype_of(spec: ModelSpec, located: Located, *, device: str) -> str:
    """Return the type that weights are computed in, as vLLM's `auto` would choose it.

    It is part of the model's identity, so it is never left to the engine.
    """
    asked = spec.args.get("dtype")
    if asked not in {None, "auto"}:
        return str(asked)
    if device == "cpu" or located.gguf_file:
        return "float32"
    config = read_config(spec.label, located.folder)
    inner = config.get("text_config")
    texts = [inner, config] if isinstance(inner, dict) else [config]
    named = next((c[k] for c in texts for k in ("dtype", "torch_dtype") if c.get(k)), None)
    return "bfloat16" if named == "bfloat16" else "float16"


def _arguments(spec: ModelSpec, located: Located, installation: Installation) -> dict[str, Json]:
    """Return the engine's arguments with our defaults filled in."""
    where = device(installation)
    args: dict[str, Json] = {
        key: spec.args[key] for key in ENGINE if spec.args.get(key) is not None
    }
    args["dtype"] = dtype_of(spec, located, device=where)
    args.setdefault("max_num_seqs", max(spec.batch_size, _SEQUENCES[where]))
    args.setdefault("seed", 0)
    args.setdefault("enable_prefix_caching", True)
    if where == "cpu":
        # Compiling takes a compiler and longer than a small model runs for.
        args.setdefault("enforce_eager", True)
        # Where a prompt is taken in by parts, a seeded request ends the engine: vLLM winds its
        # generator back, which those of processors cannot do.
        args.setdefault("enable_chunked_prefill", False)
        if not {"kv_cache_memory_bytes", "gpu_memory_utilization"} & args.keys() and not (
            os.environ.get("VLLM_CPU_KVCACHE_SPACE")
        ):
            free = psutil.virtual_memory().available // _CACHE_SHARE
            args["kv_cache_memory_bytes"] = min(_CACHE_MOST, free)
    return args


def _command(spec: ModelSpec, socket: Path) -> list[str]:
    plan = make_plan(spec, socket)
    return [sys.executable, "-m", "evaluators.runtimes.vllm_server", plan.to_json()]


def make_plan(spec: ModelSpec, socket: Path) -> Plan:
    """Return what the agent has to start for this model."""
    installation, located = find_installation(), _located(spec)
    args = _arguments(spec, located, installation)
    home = _unpacked(located, installation) if located.gguf_file else None
    folder = home / MODEL if home else located.folder
    words = [
        "--uds", str(socket), "--model", str(folder), "--served-model-name", SERVED_AS,
        "--load-format", "safetensors", "--generation-config", "vllm",
        "--enable-tokenizer-info-endpoint", "--disable-log-stats",
        "--disable-uvicorn-access-log", "--disable-fastapi-docs",
        *engine_words(args),
    ]  # fmt: skip
    if tokenizer := _tokenizer(spec):
        words += ["--tokenizer", str(tokenizer)]
    preflight = _check(spec)
    quantization = args.get("quantization")
    return Plan(
        label=spec.label,
        command=(*installation.command, *words),
        socket=str(socket),
        dtype=str(args["dtype"]),
        device=device(installation),
        batch_size=int(str(args["max_num_seqs"])),
        quantization=str(quantization) if quantization else None,
        parameters=preflight.parameters,
        unpack=_unpack_command(installation, located, folder) if home else (),
        environment=_engine_environment(spec, args, installation=installation),
        versions=installation.versions,
    )


def _unpack_command(installation: Installation, located: Located, target: Path) -> tuple[str, ...]:
    if target.is_dir() or not installation.python or not located.gguf_file:
        return ()
    script = Path(__file__).parent / "vllm_server" / "unpack.py"
    return (installation.python, str(script), str(located.folder / located.gguf_file), str(target))


def _engine_environment(
    spec: ModelSpec, args: Mapping[str, Json], *, installation: Installation
) -> dict[str, str]:
    home = str(_compiled(spec, installation))
    env = {
        "HOME": home,  # every compiler's cache ends up there, and only there
        "XDG_CACHE_HOME": home,
        "VLLM_CACHE_ROOT": f"{home}/vllm",
        "VLLM_CONFIG_ROOT": f"{home}/config",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_MAX_N_SEQUENCES": "16",
        "SPT_NOENV": "1",  # else its processes write their titles over the mark they are found by
        # All of it is one machine: nothing listens where another could reach it.
        "VLLM_HOST_IP": "127.0.0.1",
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "lo",
    }
    if args.get("enforce_eager"):
        env["TORCH_COMPILE_DISABLE"] = "1"  # a small helper of the sampler takes 17 s otherwise
    if installation.cpu:
        env |= _processor_environment(installation)
    return env


def _processor_environment(installation: Installation) -> dict[str, str]:
    """Return what makes vLLM fast on a processor, unless the operator has said otherwise."""
    env = {}
    library = installation.prefix / "lib" / "libiomp5.so" if installation.prefix else None
    if library and library.is_file():
        env["LD_PRELOAD"] = str(library)  # it waits without spinning, as the default one does not
    if len(os.sched_getaffinity(0)) <= _FEW_CORES:
        env["VLLM_CPU_NUM_OF_RESERVED_CPU"] = "0"
    return {key: value for key, value in env.items() if key not in os.environ}


def _compiled(spec: ModelSpec, installation: Installation) -> Path:
    """Return the folder for what compilers keep: each model has its own, for it holds code."""
    parts = stable_json([dict(_identity(spec)), dict(installation.versions)])
    return cache_dir() / "vllm-compiled" / hashlib.sha256(parts.encode()).hexdigest()[:32]


def _identity(spec: ModelSpec) -> Mapping[str, Json]:
    """Return files by content, and every argument that may change a text."""
    skipped = {*NAMES, *CAPACITY, "dtype"}  # the type stands on its own in the facts
    args = {k: v for k, v in spec.args.items() if k not in skipped and v is not None}
    found: dict[str, Json] = {"args": args, **identity(_located(spec))}
    if tokenizer := _tokenizer(spec):
        found["tokenizer"] = identity(Located(tokenizer))["files"]
    if os.environ.get("VLLM_BATCH_INVARIANT") == "1":
        found["batch_invariant"] = True
    return found


def _reads(spec: ModelSpec) -> tuple[Path, ...]:
    installation, located = find_installation(), _located(spec)
    places = (
        located.folder,
        _tokenizer(spec),
        installation.prefix,
        Path(installation.python).resolve().parent.parent if installation.python else None,
        _unpacked(located, installation),
    )
    return tuple(place for place in places if place)


def _writes(spec: ModelSpec) -> tuple[Path, ...]:
    installation = find_installation()
    compiled = _compiled(spec, installation)
    compiled.mkdir(parents=True, exist_ok=True)
    return (compiled, *writable_home(_unpacked(_located(spec), installation)))


def _memory(spec: ModelSpec) -> Mapping[str, Json]:
    """Return what can be lowered: the rows at a time, and the context of each."""
    args = _arguments(spec, _located(spec), find_installation())
    window = args.get("max_model_len") or _check(spec).context_window
    return {"max_num_seqs": args["max_num_seqs"], "max_model_len": window}


runtime = RuntimeKind(
    name="vllm",
    summary="A supervised vLLM server: GPUs at full speed, and processors.",
    command=_command,
    check=_check,
    offers=lambda spec: SERVED,
    identity=_identity,
    environment=lambda spec: _OWN,
    reads=_reads,
    writes=_writes,
    memory=_memory,
)
"""What the entry point `vllm` offers."""
