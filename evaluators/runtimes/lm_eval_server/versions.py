"""Which libraries make the text; another version may make another text."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

_LIBRARIES = ("lm_eval", "transformers", "torch", "tokenizers", "vllm")


def versions() -> dict[str, str]:
    """Return the versions of those that are installed."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
