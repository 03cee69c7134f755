"""What is installed: entry points listed without importing, loaded on first use."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from evaluators import entry_points
from evaluators.errors import AmbiguousName, BrokenPlugin
from evaluators.evaluator import Evaluator

GROUPS = {
    "evaluator": "redraft.evaluators",
    "metric": "redraft.metrics",
    "tasks": "redraft.tasks",
    "runtime": "redraft.runtimes",
}
"""Entry-point groups by the kind of thing that they hold."""

INSPECTION_SECONDS = 60
"""How long a plugin may take to import before it counts as broken."""


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
    problem: str = ""


def installed(kind: str = "evaluator") -> list[Installed]:
    """List what is installed of a kind, by name, without importing any of it."""
    return [
        Installed(kind, p.name, p.value, entry_points.distribution(p), entry_points.version(p))
        for p in entry_points.offered(GROUPS[kind])
    ]


def load_evaluator(name: str) -> Evaluator:
    """Import an evaluator by the name of its entry point.

    Raises:
        NotInstalled: No evaluator has that name; the error knows what is near.
        AmbiguousName: Two distributions offer it.
        BrokenPlugin: It cannot be imported, is no evaluator, or goes by another name.
    """
    return _load(_point(name))


def describe_evaluator(name: str) -> EvaluatorCard:
    """Import an evaluator here and describe it; see `inspect_evaluator` for doing so safely.

    Raises:
        NotInstalled, AmbiguousName, BrokenPlugin: As `load_evaluator`.
    """
    point = _point(name)
    evaluator = _load(point)
    return EvaluatorCard(
        name=name,
        target=point.value,
        distribution=entry_points.distribution(point),
        version=entry_points.version(point),
        digest=_digest(evaluator),
        summary=evaluator.summary,
        description=evaluator.description,
        schema=evaluator.schema(),
        information=evaluator.information,
        requires=tuple(sorted(evaluator.requires)),
        modes=tuple(sorted(evaluator.modes)),
        roles=tuple(sorted(evaluator.roles)),
        metrics=tuple(metric.name for metric in evaluator.metrics),
    )


def inspect_evaluator(name: str) -> EvaluatorCard:
    """Describe an evaluator by importing it in a process of its own, so that it can do no harm.

    Never raises for what the plugin does; the card's `problem` says it.

    Raises:
        NotInstalled: No evaluator has that name.
    """
    try:
        point = _point(name)
    except AmbiguousName as error:
        return EvaluatorCard(name, "", "", "", problem=str(error))
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "evaluators.registry", name],
            capture_output=True,
            text=True,
            timeout=INSPECTION_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _problem(point, f"importing it takes longer than {INSPECTION_SECONDS} s")
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return _problem(point, last)
    found = json.loads(lines[-1])
    lists = {name: tuple(found[name]) for name in ("requires", "modes", "roles", "metrics")}
    return EvaluatorCard(**{**found, **lists})


def _problem(point: EntryPoint, reason: str) -> EvaluatorCard:
    owner, version = entry_points.distribution(point), entry_points.version(point)
    return EvaluatorCard(point.name, point.value, owner, version, problem=reason)


def _point(name: str) -> EntryPoint:
    return entry_points.find(GROUPS["evaluator"], name, kind="evaluator")


def _load(point: EntryPoint) -> Evaluator:
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
    root = source.parent
    packaged = (root / "__init__.py").exists()
    files = [p for p in root.rglob("*") if p.suffix in {".py", ".txt", ".toml"}] if packaged else []
    digest = hashlib.sha256()
    for path in sorted(files or [source]):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _main(name: str) -> int:
    try:
        card = describe_evaluator(name)
    except BrokenPlugin as error:
        sys.stderr.write(f"{error.data['reason']}\n")
        return 1
    sys.stdout.write(json.dumps(asdict(card)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))
