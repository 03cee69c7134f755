"""The engine: runs one evaluator over many samples, each flowing on its own."""

from evaluators.engine.repeat import Repeated, repeat
from evaluators.engine.run import Limits, evaluate
from evaluators.engine.sharing import MemoryStore, SharedModel, call_key

__all__ = [
    "Limits",
    "MemoryStore",
    "Repeated",
    "SharedModel",
    "call_key",
    "evaluate",
    "repeat",
]
