"""Look at a model before anything starts, so that a bad one is refused at once and in words."""

from __future__ import annotations

from evaluators.runtimes.kinds import Preflight, runtime_kind
from evaluators.runtimes.spec import ModelSpec


def preflight(spec: ModelSpec) -> Preflight:
    """Check that the model can be served, as far as its files tell; nothing heavy is imported.

    Raises:
        NotInstalled: There is no such runtime.
        BadModel: The model cannot be served; one line says why.
    """
    return runtime_kind(spec.runtime).check(spec)
