"""The runtime `lm-eval`: any of lm-eval's model classes behind our server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import cast

from evaluators.errors import BadModel, NotInstalled, RuntimeUnavailable
from evaluators.model import Json
from evaluators.runtimes.cache import remembered
from evaluators.runtimes.files import Supported, inspect_files
from evaluators.runtimes.isolation import child_environment
from evaluators.runtimes.kinds import Preflight, RuntimeKind
from evaluators.runtimes.spec import PLACEMENT_KEYS, ModelSpec
from evaluators.runtimes.unpacked import unpacked_home, writable_home
from evaluators.runtimes.weights import Located, identity, locate

_FILES = frozenset({"hf", "hf-auto", "huggingface"})
"""Model classes that read `pretrained` from files, which are checked before anything starts."""

_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "TEXTSYNTH_API_SECRET_KEY", "WATSONX_API_KEY")
_REMOTE = (
    "completions",
    "anthropic",
    "litellm",
    "textsynth",
    "watsonx",
    "ggml",
    "gguf",
    "sglang-generate",
)
_LIST_TIMEOUT = 180
_CODE = "it would run the model author's code"


def supported() -> Supported:
    """Return what the installed lm-eval and transformers can serve, asking a child process once."""
    answer = remembered("supported", _installed(), _ask)
    return cast("Supported", answer)


def _installed() -> str:
    try:
        return f"lm_eval {version('lm_eval')} transformers {version('transformers')}"
    except PackageNotFoundError as error:
        raise BadModel(
            model="lm-eval", reason=f"{error.name} is not installed: pip install redraft[hf]"
        ) from error


def _ask() -> Json:
    command = [sys.executable, "-m", "evaluators.runtimes.lm_eval_server", "--architectures"]
    ran = subprocess.run(  # noqa: S603 - our own module, nothing of the user's in the command
        command,
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=_LIST_TIMEOUT,
        check=False,
    )
    if ran.returncode:
        last = ran.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise RuntimeUnavailable(reason=f"lm-eval cannot be asked what it supports: {last[0]}")
    listed: Json = json.loads(ran.stdout)
    return listed


def _check(spec: ModelSpec) -> Preflight:
    _check_arguments(spec)
    known = supported()
    if spec.model not in known["models"]:
        near = NotInstalled.among("lm-eval model class", spec.model, known["models"])
        raise BadModel(model=spec.model, reason=str(near))
    if spec.model not in _FILES:
        return Preflight(label=spec.label)
    return inspect_files(spec.label, _located(spec), known=known)


def _check_arguments(spec: ModelSpec) -> None:
    if spec.args.get("trust_remote_code", False) is not False:
        raise BadModel(model=spec.label, reason=f"trust_remote_code is refused: {_CODE}")
    if "batch_size" in spec.args:
        raise BadModel(
            model=spec.label, reason="batch_size is not a model argument here; give it on its own"
        )
    if spec.model in _FILES:
        for key in ("tokenizer", "peft", "delta"):
            if value := spec.args.get(key):
                locate(str(value), revision=str(spec.args.get("revision", "main")))


def _located(spec: ModelSpec) -> Located:
    pretrained = spec.args.get("pretrained")
    if not isinstance(pretrained, str) or not pretrained:
        raise BadModel(
            model=spec.label, reason="it needs pretrained=<folder, repository or bundled name>"
        )
    gguf = spec.args.get("gguf_file")
    found = locate(
        pretrained,
        revision=str(spec.args.get("revision", "main")),
        gguf_file=str(gguf) if gguf else None,
    )
    subfolder = spec.args.get("subfolder")
    return (
        Located(found.folder / str(subfolder), found.gguf_file, found.commit)
        if subfolder
        else found
    )


def resolved_args(spec: ModelSpec) -> dict[str, Json]:
    """Return the arguments for the model class, with names replaced by the files they stand for."""
    args = {key: value for key, value in spec.args.items() if key != "trust_remote_code"}
    if spec.model not in _FILES:
        return args
    found = _located(spec)
    for key in ("subfolder", "revision"):
        args.pop(key, None)
    args["pretrained"] = str(found.folder)
    if found.gguf_file:
        args["gguf_file"] = found.gguf_file
        # Quantised weights are unpacked when loaded; float32 is what every device computes alike.
        args.setdefault("dtype", "float32")
    return args


def _command(spec: ModelSpec, socket: Path) -> list[str]:
    given = {
        "label": spec.label,
        "model": spec.model,
        "args": resolved_args(spec),
        "batch_size": spec.batch_size,
    }
    server = "evaluators.runtimes.lm_eval_server"
    return [sys.executable, "-m", server, "--socket", str(socket), "--spec", json.dumps(given)]


def _identity(spec: ModelSpec) -> Mapping[str, Json]:
    """Return files by content, not by where they lie; all other arguments as they are."""
    args = {key: value for key, value in spec.args.items() if key not in PLACEMENT_KEYS}
    if spec.model not in _FILES:
        return {"args": args}
    found = _located(spec)
    for key in ("pretrained", "revision", "subfolder", "gguf_file"):
        args.pop(key, None)
    others = {
        key: identity(locate(str(args.pop(key))))["files"]
        for key in ("tokenizer", "peft", "delta")
        if args.get(key)
    }
    return {"args": args, **identity(found), **others}


def _reads(spec: ModelSpec) -> tuple[Path, ...]:
    """Return the folders of the model and of whatever belongs to it."""
    if spec.model not in _FILES:
        return ()
    others = (spec.args.get(key) for key in ("tokenizer", "peft", "delta"))
    folders = [locate(str(name)).folder for name in others if name]
    home = _unpacked_home(spec)
    return (_located(spec).folder, *folders, *([home] if home else []))


def _writes(spec: ModelSpec) -> tuple[Path, ...]:
    return writable_home(_unpacked_home(spec))


def _unpacked_home(spec: ModelSpec) -> Path | None:
    if spec.model not in _FILES:
        return None
    unpacker = f"transformers-{version('transformers')}"
    return unpacked_home(_located(spec), unpacker=unpacker)


def _is_remote(spec: ModelSpec) -> bool:
    return spec.model not in _FILES and any(part in spec.model for part in _REMOTE)


_OFFERS = frozenset(
    {"chat", "prefix", "token_logprobs", "top_logprobs", "label_likelihood", "echo"}
)
"""Most that lm-eval's model classes can do: Hugging Face models all of it, others less."""

runtime = RuntimeKind(
    name="lm-eval",
    summary="Any of lm-eval's model classes; Hugging Face models with continuous batching.",
    command=_command,
    check=_check,
    offers=lambda spec: _OFFERS,
    identity=_identity,
    network=_is_remote,
    environment=lambda spec: _KEYS if _is_remote(spec) else (),
    reads=_reads,
    writes=_writes,
)
"""What the entry point `lm-eval` offers."""
