"""Entry points of installed packages: listed without importing, found by name, loaded with care."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points

from evaluators.errors import AmbiguousName, BrokenPlugin, NotInstalled


def offered(group: str) -> list[EntryPoint]:
    """Return a group's entry points, each distribution's offer once."""
    points = sorted(entry_points(group=group), key=lambda p: (p.name, distribution(p), p.value))
    return list({(p.name, distribution(p), p.value): p for p in points}.values())


def find(
    group: str,
    name: str,
    *,
    kind: str,
    also: Iterable[str] = (),
    among: Sequence[EntryPoint] | None = None,
) -> EntryPoint:
    """Return the one entry point of that name.

    Args:
        group: Where to look.
        name: What to look for.
        kind: What the group holds, for the words of an error.
        also: Further names that exist, for what an error proposes.
        among: The group's entry points, where they have been read already.

    Raises:
        NotInstalled: Nothing has that name; the error knows what is near.
        AmbiguousName: Two distributions offer it.
    """
    points = offered(group) if among is None else among
    found = [point for point in points if point.name == name]
    if not found:
        raise NotInstalled.among(kind, name, [*(point.name for point in points), *also])
    owners = sorted({distribution(point) for point in found})
    if len(owners) > 1:
        raise AmbiguousName(kind=kind, name=name, distributions=owners)
    return found[0]


def load(point: EntryPoint, *, kind: str) -> object:
    """Import what an entry point leads to.

    Raises:
        BrokenPlugin: Importing it failed, for whatever reason.
    """
    try:
        return point.load()
    except Exception as error:  # importing a stranger's module may raise anything
        raise broken(point, f"{type(error).__name__}: {error}", kind=kind) from error


def broken(point: EntryPoint, reason: str, *, kind: str) -> BrokenPlugin:
    """Return the error that says what is wrong with an entry point's object."""
    owner = distribution(point)
    return BrokenPlugin(kind=kind, name=point.name, distribution=owner, reason=reason)


def distribution(point: EntryPoint) -> str:
    """Return the name of the package that offers it."""
    return point.dist.name if point.dist else "unknown"


def version(point: EntryPoint) -> str:
    """Return the version of the package that offers it."""
    return point.dist.version if point.dist else "unknown"
