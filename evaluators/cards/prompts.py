"""Which prompt files a method is made of."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from evaluators.cards.files import package_of
from evaluators.evaluator import Evaluator
from evaluators.registry import installed
from evaluators.strategies import Prompt


def prompts_of(evaluator: Evaluator) -> tuple[Prompt, ...]:
    """Return the prompts that the evaluator's module holds, and modules of its package it uses."""
    seen: dict[str, ModuleType] = {}
    waiting = [evaluator.function.__module__]
    while waiting:
        name = waiting.pop()
        if name not in seen and name in sys.modules:
            seen[name] = sys.modules[name]
            waiting.extend(_used(seen[name], package_of(evaluator)))
    values = [value for module in seen.values() for value in _globals(module).values()]
    found = {(prompt.package, prompt.name): prompt for prompt in _all(values)}
    return tuple(found[key] for key in sorted(found))


def installed_prompts() -> dict[tuple[str, str], Prompt]:
    """Return every prompt file of every package that offers an evaluator, without importing any.

    Returns:
        Prompts by package and name, in that order.
    """
    packages = {entry.target.partition(":")[0].partition(".")[0] for entry in installed()}
    found = {
        (package, prompt.name): prompt
        for package in packages
        for folder in _folders(package)
        for prompt in _in_folder(package, folder / "prompts")
    }
    return dict(sorted(found.items()))


def _folders(package: str) -> list[Path]:
    """Return where a package's files are; nowhere for one that is gone or a single module."""
    spec = find_spec(package)
    return [Path(place) for place in (spec.submodule_search_locations if spec else None) or ()]


def _in_folder(package: str, folder: Path) -> Iterator[Prompt]:
    for path in sorted(folder.rglob("*.txt")):
        name = path.relative_to(folder).as_posix().removesuffix(".txt")
        yield Prompt(name, path.read_text(encoding="utf-8").strip(), package)


def _used(module: ModuleType, package: str) -> Iterator[str]:
    """Yield the modules of the same package that a module took something from."""
    for value in _globals(module).values():
        if isinstance(value, ModuleType):
            home = value.__name__
        else:
            origin = value.function if isinstance(value, Evaluator) else value
            home = str(getattr(origin, "__module__", None))
        if home.startswith(f"{package}."):
            yield home


def _globals(module: ModuleType) -> dict[str, object]:
    return {name: value for name, value in vars(module).items() if not name.startswith("__")}


def _held(value: object) -> Iterator[Prompt]:
    match value:
        case Prompt():
            yield value
        case Mapping():
            yield from _all(value.values())
        case list() | tuple() | set() | frozenset():
            yield from _all(value)
        case _ if is_dataclass(value) and not isinstance(value, type):
            yield from _all(getattr(value, field.name) for field in fields(value))


def _all(values: Iterable[object]) -> Iterator[Prompt]:
    for value in values:
        yield from _held(value)
