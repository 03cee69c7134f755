"""Redraft's library: evaluate how a language model's answers change when it looks at them again."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("redraft")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
