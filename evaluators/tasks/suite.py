"""Suites: named lists of tasks with their settings, kept as TOML."""

from __future__ import annotations

import hashlib
import json
import logging
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from evaluators.errors import AmbiguousName, BadFile, InputError, NotInstalled
from evaluators.tasks.spec import MODES, TaskSpec

_log = logging.getLogger(__name__)
_FOLDER = Path(__file__).with_name("suites")
_SPEC_FIELDS = {field.name: str(field.type) for field in fields(TaskSpec)}
_HEAD = {"name", "version", "summary", "tasks"}
_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "Overlong": (str,),
    "TaskMode": (str,),
}


@dataclass(frozen=True, slots=True)
class SuiteTask:
    """One task of a suite."""

    spec: TaskSpec
    """How to open it."""
    limit: int | None = None
    """How many of its samples belong to the suite; None means all."""


@dataclass(frozen=True, slots=True)
class Suite:
    """A list of tasks that are evaluated together; its value is the mean over them."""

    name: str
    version: str
    summary: str
    """One line for people."""
    tasks: tuple[SuiteTask, ...]
    digest: str
    """sha256 of name, version and tasks: another digest is another suite."""
    path: Path
    """The file it was read from."""

    @property
    def specs(self) -> tuple[TaskSpec, ...]:
        """What to hand to `open_tasks`."""
        return tuple(task.spec for task in self.tasks)


@dataclass(frozen=True, slots=True)
class SuiteEntry:
    """A suite that can be loaded."""

    name: str
    version: str
    summary: str
    tasks: int
    """How many tasks it has."""
    path: Path


def list_suites() -> list[SuiteEntry]:
    """Return the suites that are bundled or that installed packages of tasks bring, by name."""
    bundled = [_read(path) for path in _FOLDER.glob("*.toml")]
    brought = _brought()
    # One that two packages bring, or that has a bundled one's name, cannot be loaded by its name.
    count = Counter(suite.name for suite in (*bundled, *brought))
    alone = [suite for suite in brought if count[suite.name] == 1]
    suites = sorted([*bundled, *alone], key=lambda suite: suite.name)
    return [SuiteEntry(s.name, s.version, s.summary, len(s.tasks), s.path) for s in suites]


def load_suite(name_or_path: str | Path) -> Suite:
    """Read an installed suite by name, or any suite by the path of its `.toml` file.

    Raises:
        NotInstalled: No installed suite has this name.
        AmbiguousName: Two packages bring one of this name.
        BadFile: The file cannot be read or is not a suite.
    """
    return _with_modes(_found(name_or_path))


def _found(name_or_path: str | Path) -> Suite:
    if isinstance(name_or_path, Path) or name_or_path.endswith(".toml"):
        return _read(Path(name_or_path))
    bundled = {path.stem: path for path in _FOLDER.glob("*.toml")}
    if name_or_path in bundled:
        return _read(bundled[name_or_path])
    brought = _brought()
    found = [suite for suite in brought if suite.name == name_or_path]
    if len(found) > 1:
        sources = [str(suite.path) for suite in found]
        raise AmbiguousName(kind="suite", name=name_or_path, distributions=sources)
    if not found:
        names = sorted([*bundled, *(suite.name for suite in brought)])
        raise NotInstalled.among(kind="suite", name=name_or_path, names=names)
    return found[0]


def _brought() -> list[Suite]:
    """Read the suites that lie in `suites/` of installed folders of tasks.

    One that cannot be read is left out, so that a broken package does not take all suites down.
    """
    from evaluators.tasks.catalogue import installed_folders

    suites = []
    for folder in installed_folders():
        for path in sorted((folder.path / "suites").glob("*.toml")):
            try:
                suites.append(_read(path))
            except BadFile as error:
                _log.warning("%s is left out: %s", path.name, error)
    return suites


def _with_modes(suite: Suite) -> Suite:
    """Fill in the modes of multiple-choice tasks; those that are not there say so when opened."""
    from evaluators.tasks.catalogue import Catalogue

    catalogue = Catalogue()
    tasks = []
    for task in suite.tasks:
        with suppress(InputError):
            task = replace(task, spec=catalogue.resolve(task.spec))  # noqa: PLW2901 - the same task
        tasks.append(task)
    return replace(suite, tasks=tuple(tasks))


def _read(path: Path) -> Suite:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadFile(path=str(path), line=None, reason=str(error)) from error
    problem = next(_problems(table), None)
    if problem is not None:
        raise BadFile(path=str(path), line=None, reason=problem)
    return Suite(
        name=table["name"],
        version=table["version"],
        summary=table["summary"],
        tasks=tuple(_task(entry) for entry in table["tasks"]),
        digest=_digest(table),
        path=path,
    )


def _task(entry: Mapping[str, Any]) -> SuiteTask:
    settings = {name: value for name, value in entry.items() if name != "limit"}
    if "threshold" in settings:
        settings["threshold"] = float(settings["threshold"])
    return SuiteTask(TaskSpec(**settings), entry.get("limit"))


def _digest(table: Mapping[str, Any]) -> str:
    """Digest what decides results; the summary may be reworded."""
    kept = {key: table[key] for key in ("name", "version", "tasks")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _problems(table: Mapping[str, Any]) -> Iterator[str]:
    """Say what is wrong with a suite's file, the first thing first."""
    yield from (f"has no key {key!r}" for key in sorted(_HEAD - table.keys()))
    yield from (f"unknown key {key!r}" for key in sorted(table.keys() - _HEAD))
    for key in ("name", "version", "summary"):
        if not (isinstance(table[key], str) and table[key].strip()):
            yield f"{key!r} is not a text"
    tasks = table["tasks"]
    if not isinstance(tasks, list) or not tasks:
        yield "'tasks' is not a list of tables"
        return
    seen: set[object] = set()
    for entry in tasks:
        yield from _task_problems(entry)
        named = (entry["name"], entry.get("mode"))
        if named in seen:
            yield f"task {':'.join(filter(None, named))!r} is named twice"
        seen.add(named)


def _task_problems(entry: object) -> Iterator[str]:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        yield "a task has no name"
        return
    for key, value in entry.items():
        wanted = "int" if key == "limit" else _SPEC_FIELDS.get(key, "").partition(" ")[0]
        if not wanted:
            yield f"task {entry['name']!r}: unknown key {key!r}"
        elif not isinstance(value, _TYPES[wanted]) or (
            wanted != "bool" and isinstance(value, bool)
        ):
            yield f"task {entry['name']!r}: {key} = {value!r} is not of type {wanted}"
    for key in ("limit", "max_tokens"):
        if isinstance(entry.get(key), int) and entry[key] < 1:
            yield f"task {entry['name']!r}: {key} = {entry[key]} is below 1"
    if entry.get("mode") not in (None, *MODES):
        yield f"task {entry['name']!r}: mode = {entry['mode']!r} is none of {', '.join(MODES)}"
