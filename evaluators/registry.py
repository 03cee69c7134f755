"""What is installed: entry points listed without importing, loaded on first use."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluators import entry_points

if TYPE_CHECKING:
    from evaluators.evaluator import Evaluator

GROUPS = {
    "evaluator": "redraft.evaluators",
    "metric": "redraft.metrics",
    "tasks": "redraft.tasks",
    "runtime": "redraft.runtimes",
}
"""Entry-point groups by the kind of thing that they hold."""


@dataclass(frozen=True, slots=True)
class Installed:
    """One entry point, not imported."""

    kind: str
    name: str
    target: str
    """`module:object`."""
    distribution: str
    version: str


@dataclass(frozen=True, slots=True)
class EvaluatorCard:
    """All that can be said of an installed evaluator; `problem` says why it cannot be used."""

    name: str
    target: str
    distribution: str
    version: str
    digest: str = ""
    """sha256 over the package's source and prompt files."""
    summary: str = ""
    description: str = ""
    schema: Mapping[str, Any] = field(default_factory=dict)
    information: str = "intrinsic"
    requires: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    """Modes of tasks that it works on."""
    roles: tuple[str, ...] = ()
    """Roles beside the actor's that another model may play."""
    metrics: tuple[str, ...] = ()
    source: str = ""
    """arXiv id of the paper that it follows."""
    controls: tuple[str, ...] = ()
    """What its results are held against at equal compute."""
    card: Mapping[str, Any] = field(default_factory=dict)
    """`evaluators.cards.MethodCard` as JSON; empty where it was described without one."""
    problem: str = ""


def installed(kind: str = "evaluator") -> list[Installed]:
    """List what is installed of a kind, by name, without importing any of it."""
    return [
        Installed(kind, p.name, p.value, entry_points.distribution(p), entry_points.version(p))
        for p in entry_points.offered(GROUPS[kind])
    ]


def load_evaluator(name: str, *, among: Sequence[EntryPoint] | None = None) -> Evaluator:
    """Import an evaluator by the name of its entry point.

    Args:
        name: Of the entry point.
        among: All evaluators' entry points, for callers that load many.

    Raises:
        NotInstalled: No evaluator has that name; the error knows what is near.
        AmbiguousName: Two distributions offer it.
        BrokenPlugin: It cannot be imported, is no evaluator, or goes by another name.
    """
    return _load(evaluator_point(name, among=among))


def describe_evaluator(
    name: str, *, among: Sequence[EntryPoint] | None = None, brief: bool = False
) -> EvaluatorCard:
    """Import an evaluator here and describe it; `evaluators.inspection` does so safely.

    Args:
        name: Of the entry point.
        among: All evaluators' entry points, for callers that describe many.
        brief: Leave out what takes time: the digest and the parameters' schema.

    Raises:
        NotInstalled, AmbiguousName, BrokenPlugin: As `load_evaluator`.
    """
    point = evaluator_point(name, among=among)
    evaluator = _load(point)
    return EvaluatorCard(
        name=name,
        target=point.value,
        distribution=entry_points.distribution(point),
        version=entry_points.version(point),
        digest="" if brief else _digest(evaluator),
        summary=evaluator.summary,
        description=evaluator.description,
        schema={} if brief else evaluator.schema(),
        information=evaluator.information,
        requires=tuple(sorted(evaluator.requires)),
        modes=tuple(sorted(evaluator.modes)),
        roles=tuple(sorted(evaluator.roles)),
        metrics=tuple(metric.name for metric in evaluator.metrics),
        source=evaluator.source,
        controls=evaluator.controls,
    )


def evaluator_points() -> list[EntryPoint]:
    """Return all evaluators' entry points, not imported."""
    return entry_points.offered(GROUPS["evaluator"])


def evaluator_point(name: str, *, among: Sequence[EntryPoint] | None = None) -> EntryPoint:
    """Return an evaluator's entry point, not imported.

    Raises:
        NotInstalled, AmbiguousName: As `load_evaluator`.
    """
    return entry_points.find(GROUPS["evaluator"], name, kind="evaluator", among=among)


def _load(point: EntryPoint) -> Evaluator:
    from evaluators.evaluator import Evaluator  # who only lists what is installed needs it not

    thing = entry_points.load(point, kind="evaluator")
    if not isinstance(thing, Evaluator):
        reason = f"the entry point leads to a {type(thing).__name__}, not to an evaluator"
    elif thing.name != point.name:
        reason = f"the entry point is called {point.name!r} but the function {thing.name!r}"
    else:
        return thing
    raise entry_points.broken(point, reason, kind="evaluator")


def _digest(evaluator: Evaluator) -> str:
    """Hash the files of the evaluator's own package: code that changed without a version shows."""
    module = sys.modules[evaluator.function.__module__]
    source = Path(module.__file__ or "")
    packaged = (source.parent / "__init__.py").exists()
    return _digest_of(source.parent if packaged else source)


@cache  # all evaluators of a package share its digest, and what was imported stays as it was
def _digest_of(place: Path) -> str:
    """Hash a package's folder, or a module that is in none."""
    files = [p for p in place.rglob("*") if p.suffix in {".py", ".txt", ".toml"}]
    root = place if files else place.parent
    digest = hashlib.sha256()
    for path in sorted(files or [place]):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
