"""One evaluation from names to results, without a server: what `run` and notebooks call."""

from evaluators.session.plan import (
    CHAT,
    Key,
    Method,
    Part,
    Plan,
    Report,
    Watcher,
    require_capabilities,
    require_modes,
    without_chat,
)
from evaluators.session.run import Through, run_plan

__all__ = [
    "CHAT",
    "Key",
    "Method",
    "Part",
    "Plan",
    "Report",
    "Through",
    "Watcher",
    "require_capabilities",
    "require_modes",
    "run_plan",
    "without_chat",
]
