"""Which tasks there are: folders of YAML from entry points and callers, and lm-eval's own."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from evaluators import entry_points
from evaluators.errors import AmbiguousName, BadFile, BadTask, NotInstalled
from evaluators.tasks.index import IndexEntry, default_index, lm_eval_root
from evaluators.tasks.spec import CHOOSING, TaskEntry, TaskSpec, modes_of

GROUP = "redraft.tasks"
"""Entry points of this group name packages whose folder holds lm-eval YAML."""

_log = logging.getLogger(__name__)
_MOST_MEMBERS = 12


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of task files and who brought it."""

    path: Path
    distribution: str


def list_tasks(*, everything: bool = False) -> list[TaskEntry]:
    """Return the installed folders' tasks by name; with `everything`, lm-eval's own as well."""
    entries = [entry for folder in installed_folders() for entry in _readable(folder)]
    if everything:
        known = {entry.name for entry in entries}
        root = lm_eval_root()
        entries += [
            TaskEntry(
                name, found.summary, "lm_eval", found.version, path=root / found.path,
                modes=found.modes,
            )
            for name, found in default_index().items()
            if found.modes and name not in known
        ]  # fmt: skip
    return sorted(entries, key=lambda entry: entry.name)


def resolve_modes(
    specs: Iterable[TaskSpec], *, include_paths: Sequence[Path | str] = ()
) -> list[TaskSpec]:
    """Fill in the modes of multiple-choice tasks, so that `key` is what results will be named.

    Raises:
        NotInstalled, AmbiguousName, BadTask, BadFile: A task cannot be found.
    """
    catalogue = Catalogue([Path(path).expanduser() for path in include_paths])
    return [catalogue.resolve(spec) for spec in specs]


class Catalogue:
    """Finds the files of tasks by name; reads each folder once."""

    def __init__(self, include_paths: Sequence[Path] = ()) -> None:
        """Read the caller's folders.

        Raises:
            BadFile: One of them, or a file in it, cannot be read.
        """
        folders = [Folder(path, "") for path in include_paths]
        self._included = [entry for folder in folders for entry in _entries(folder, strict=True)]

    def resolve(self, spec: TaskSpec) -> TaskSpec:
        """Return the specification with the mode that holds, so that its key is the task's name.

        Raises:
            As `find`.
        """
        path = self.find(spec.name)
        if spec.mode is None and modes_of(read_yaml(path)) == CHOOSING:
            return replace(spec, mode=CHOOSING[0])
        return spec

    def find(self, name: str) -> Path:
        """Return a task's file: from the caller's folders, else installed ones, else lm-eval's.

        Raises:
            NotInstalled: No task has this name.
            AmbiguousName: Two installed folders offer it.
            BadTask: The name stands for several tasks.
        """
        for entry in self._included:
            if entry.name == name:
                return entry.path
        found = [entry for entry in self._installed if entry.name == name]
        if len(found) > 1:
            sources = [f"{entry.distribution} ({entry.path})" for entry in found]
            raise AmbiguousName(kind="task", name=name, distributions=sources)
        if found:
            return found[0].path
        index = default_index()
        if name in index:
            return _single(name, index[name])
        names = [entry.name for entry in (*self._included, *self._installed)]
        raise NotInstalled.among(kind="task", name=name, names=[*names, *index])

    @cached_property
    def _installed(self) -> list[TaskEntry]:
        return [entry for folder in installed_folders() for entry in _readable(folder)]


def installed_folders() -> list[Folder]:
    """Return the folders that installed distributions offer, without importing them.

    Raises:
        BrokenPlugin: An entry point names a package that is not there.
    """
    return [
        Folder(_folder(point), entry_points.distribution(point))
        for point in entry_points.offered(GROUP)
    ]


def _folder(point: EntryPoint) -> Path:
    """Find the package's folder below its top-level package: importing it could be slow."""
    top, *rest = point.module.split(".")
    spec = find_spec(top)
    for root in (spec.submodule_search_locations if spec else None) or ():
        folder = Path(root).joinpath(*rest)
        if folder.is_dir():
            return folder
    raise entry_points.broken(point, f"there is no package {point.module!r}", kind="task folder")


def _readable(folder: Folder) -> Iterator[TaskEntry]:
    return _entries(folder, strict=False)


def _entries(folder: Folder, *, strict: bool) -> Iterator[TaskEntry]:
    """Read what a folder offers; a file that cannot be read is an error only if `strict`."""
    if strict and not folder.path.is_dir():
        raise BadFile(path=str(folder.path), line=None, reason="is not a folder")
    for path in sorted(folder.path.rglob("*.yaml")):
        try:
            config = read_yaml(path)
        except BadFile as error:
            if strict:
                raise
            _log.warning("%s is left out: %s", path.name, error)
            continue
        name = config.get("task")
        if isinstance(name, str) and "group" not in config:
            yield _entry(name, config, folder=folder, path=path)


def _entry(name: str, config: dict[str, Any], *, folder: Folder, path: Path) -> TaskEntry:
    metadata = config.get("metadata")
    facts = metadata if isinstance(metadata, dict) else {}
    return TaskEntry(
        name=name,
        summary=str(facts.get("summary", "")),
        distribution=folder.distribution,
        version=str(facts.get("version", "")),
        path=path,
        modes=() if "class" in config else modes_of(config),
    )


def read_yaml(path: Path, _above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a task file with what it includes, without importing the functions it names.

    Raises:
        BadFile: It cannot be read, is no mapping, or includes itself.
    """
    if path in _above:
        raise BadFile(path=str(path), line=None, reason="includes itself")
    try:
        stat = path.stat()
    except OSError as error:
        raise BadFile(path=str(path), line=None, reason=str(error)) from error
    config = dict(_parsed(path, stat.st_mtime_ns, stat.st_size))
    merged: dict[str, Any] = {}
    for name in _listed(config.pop("include", ())):
        merged |= read_yaml((path.parent / name).resolve(), (*_above, path))
    return merged | config


@lru_cache(maxsize=2048)
def _parsed(path: Path, _changed: int, _size: int) -> dict[str, Any]:
    """Parse a file once as long as it is the same: suites look at all files for every task."""
    try:
        config = yaml.load(path.read_bytes(), Loader=_Loader)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise BadFile(path=str(path), line=line, reason=str(error.problem)) from error
    except (OSError, yaml.YAMLError) as error:
        raise BadFile(path=str(path), line=None, reason=str(error)) from error
    if not isinstance(config, dict):
        raise BadFile(path=str(path), line=None, reason="does not hold a mapping")
    return config


def _listed(names: str | Iterable[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # the C loader is there where libyaml is
    """Reads plain data, and `!function` as the text behind it."""


_Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


def _single(name: str, entry: IndexEntry) -> Path:
    if entry.kind == "task":
        return lm_eval_root() / entry.path
    shown = ", ".join(entry.members[:_MOST_MEMBERS])
    more = len(entry.members) - _MOST_MEMBERS
    listed = f"{shown} and {more} more" if more > 0 else shown
    raise BadTask(task=name, reason=f"is a {entry.kind} of tasks; name one of them: {listed}")
