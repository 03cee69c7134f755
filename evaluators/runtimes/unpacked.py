"""Where small GGUF models lie unpacked, because reading safetensors is several times faster."""

from __future__ import annotations

from pathlib import Path

from evaluators.runtimes.cache import cache_dir
from evaluators.runtimes.weights import Located, sha256_of

LIMIT = 500_000_000
"""Bytes of a GGUF file above which the disk that unpacked weights take is not worth the seconds."""

MODEL = "model"
"""The folder of the unpacked model inside the model's own; it is there as a whole or not at all."""


def unpacked_home(located: Located, *, unpacker: str) -> Path | None:
    """Return the folder that belongs to this model alone, or None for models not worth it.

    Every model has its own, because the process that fills it may be writing for its author.

    Args:
        located: The model's files.
        unpacker: What unpacks, and in which version: another one may write other bytes.
    """
    if located.gguf_file is None:
        return None
    file = located.folder / located.gguf_file
    if file.stat().st_size > LIMIT:
        return None
    return cache_dir() / "unpacked" / unpacker / sha256_of(file)


def writable_home(home: Path | None) -> tuple[Path, ...]:
    """Make the folder and return it, unless nothing is left to be written there."""
    if home is None or (home / MODEL).is_dir():
        return ()
    home.mkdir(parents=True, exist_ok=True)
    return (home,)
