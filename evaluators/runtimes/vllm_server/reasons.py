"""What a dead engine's last words mean: one reason for people, and numbers where memory ran out."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evaluators.model import Json

_PREFIX = re.compile(
    r"^(\([\w-]+(?: pid=\d+)?\) )?(?:ERROR|WARNING|INFO|CRITICAL) [\d-]+ [\d:]+ \[[^\]]+\] ?"
)
_SPEAKER = re.compile(r"^\([\w-]+(?: pid=\d+)?\) ")
_ERROR = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt)(?:: (?P<words>.+))?$")
_ARGUMENT = re.compile(r"^\S+: error: (?P<words>.+)$")
_VALIDATION = re.compile(r"^\s*(?:Value|Assertion) error, (?P<words>.+?)(?: \[type=.*)?$")
_GENERIC = (
    "Engine core initialization failed",
    "WorkerProc initialization failed",
    "EngineCore encountered an issue",
    "cancelled",
)
"""Beginnings of errors that only say that there was another."""

_LONGEST = 900
"""Characters of a reason."""

_BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZE = r"\(?([\d.]+) ?(B|KiB|MiB|GiB|TiB)"
_CACHE = re.compile(rf"max seq len \((\d+)\).*?{_SIZE} KV cache is needed.*?memory {_SIZE}")
_ESTIMATE = re.compile(r"estimated maximum model length is (\d+)")
_OUT_OF_MEMORY = re.compile(r"out of memory", re.IGNORECASE)
_TRIED = re.compile(rf"Tried to allocate {_SIZE}")
_FREE = re.compile(rf"of which {_SIZE} is free")
_BUSY = re.compile(r"Free memory on device .* is less than desired")


def reason_of(lines: Sequence[str]) -> str | None:
    """Return the last error that the log names, in its own words; None when it names none."""
    found = None
    for line in map(_plain, lines):
        words = _words(line)
        if words and not words.startswith(_GENERIC):
            found = words
    return " ".join(found.split())[:_LONGEST] if found else None


def _plain(line: str) -> str:
    """Return the line without what vLLM's logger puts before it."""
    return _SPEAKER.sub("", _PREFIX.sub("", line.rstrip()))


def _words(line: str) -> str | None:
    for pattern in (_VALIDATION, _ARGUMENT):
        if found := pattern.match(line):
            return found["words"]
    found = _ERROR.match(line)
    # pydantic's own headline says only how many errors follow.
    if found is None or "ValidationError" in line.partition(":")[0]:
        return None
    return found["words"] or line


def shortage_of(reason: str) -> dict[str, Json] | None:
    """Return what memory was too small, with the numbers named, or None for other reasons.

    `device_memory`: weights or activations did not fit. `kv_cache`: not even one sequence of the
    whole context fits into what is left beside them.
    """
    if found := _CACHE.search(reason):
        estimate = _ESTIMATE.search(reason)
        return {
            "kind": "kv_cache",
            "needed": _bytes(found[2], found[3]),
            "available": _bytes(found[4], found[5]),
            "most_tokens": int(estimate[1]) if estimate else None,
        }
    if "No available memory for the cache blocks" in reason:
        return {"kind": "kv_cache", "needed": None, "available": 0, "most_tokens": None}
    if _OUT_OF_MEMORY.search(reason):
        tried, free = _TRIED.search(reason), _FREE.search(reason)
        return {
            "kind": "device_memory",
            "needed": _bytes(tried[1], tried[2]) if tried else None,
            "available": _bytes(free[1], free[2]) if free else None,
            "most_tokens": None,
        }
    return None


def is_busy(reason: str) -> bool:
    """Tell whether somebody else holds the memory: later there may be enough."""
    return bool(_BUSY.search(reason))


def _bytes(number: str, unit: str) -> int:
    return round(float(number) * _BYTES[unit])
