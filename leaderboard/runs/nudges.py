"""How a message that reaches this process reaches its claimer."""

from __future__ import annotations

import threading
from collections.abc import Callable

_lock = threading.Lock()
_listeners: set[Callable[[], None]] = set()


def listen(listener: Callable[[], None]) -> Callable[[], None]:
    """Have a function called at every nudge, from any thread; return what ends that."""
    with _lock:
        _listeners.add(listener)

    def forget() -> None:
        with _lock:
            _listeners.discard(listener)

    return forget


def nudge() -> int:
    """Call all listeners of this process; return how many there were."""
    with _lock:
        found = list(_listeners)
    for listener in found:
        listener()
    return len(found)
