"""lm-eval tasks as Redraft uses them: find, open, render to chat messages, grade one answer.

Importing this package is cheap; lm-eval is only ever imported by a process of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evaluators.tasks.spec import TaskEntry, TaskSpec

if TYPE_CHECKING:
    from evaluators.tasks.catalogue import list_tasks, resolve_modes
    from evaluators.tasks.client import open_tasks
    from evaluators.tasks.suite import Suite, SuiteEntry, SuiteTask, list_suites, load_suite

__all__ = [
    "Suite",
    "SuiteEntry",
    "SuiteTask",
    "TaskEntry",
    "TaskSpec",
    "list_suites",
    "list_tasks",
    "load_suite",
    "open_tasks",
    "resolve_modes",
]

_HOMES = {
    "Suite": "suite",
    "SuiteEntry": "suite",
    "SuiteTask": "suite",
    "list_suites": "suite",
    "list_tasks": "catalogue",
    "load_suite": "suite",
    "open_tasks": "client",
    "resolve_modes": "catalogue",
}


def __getattr__(name: str) -> Any:
    """Import a name's module on first use, so that importing the package stays cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
