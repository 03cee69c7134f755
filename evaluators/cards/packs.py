"""Folders of prompt packs: which of them can be used, and for which methods."""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from evaluators.cards.prompts import installed_prompts, prompts_of
from evaluators.errors import BadFile, NotInstalled
from evaluators.evaluator import Evaluator
from evaluators.strategies import Prompt
from evaluators.strategies.packs import Key, PromptPack, read_pack


@dataclass(frozen=True, slots=True)
class FoundPack:
    """A folder among prompt packs."""

    folder: str
    """Its name."""
    name: str
    """The pack's name; the folder's where the pack cannot be read."""
    pack: PromptPack | None
    """None for one that is refused."""
    problem: str = ""
    """Why it is refused, in one line that does not tell where the folder of packs lies."""


def pack_for(pack: PromptPack, evaluators: Iterable[Evaluator]) -> PromptPack:
    """Return what of a pack stands in for prompts of these evaluators; it may be nothing."""
    used = {(p.package, p.name) for evaluator in evaluators for p in prompts_of(evaluator)}
    return pack.only(used)


def folder_problem(folder: Path) -> str:
    """Say in one line why a folder cannot hold prompt packs; empty where it can."""
    try:
        mode = folder.stat().st_mode
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    if not stat.S_ISDIR(mode):
        return "it is not a folder"
    return "others may write to it" if mode & stat.S_IWOTH else ""


def find_packs(folder: Path, known: Mapping[Key, Prompt] | None = None) -> list[FoundPack]:
    """Read every folder in one that holds prompt packs, in the order of their names.

    Those that cannot be used are among them, each with the reason.

    Args:
        folder: Holds packs, each in a folder of its own.
        known: Installed prompts, for callers that look often.

    Raises:
        BadFile: The folder itself cannot be used.
    """
    if problem := folder_problem(folder):
        raise BadFile(path=str(folder), line=None, reason=problem)
    known = installed_prompts() if known is None else known
    try:
        places = [p for p in sorted(folder.iterdir()) if p.is_dir() and p.name[0] != "."]
    except OSError as error:
        reason = f"it cannot be read: {error.strerror or error}"
        raise BadFile(path=str(folder), line=None, reason=reason) from error
    found = [_found(place, known) for place in places]
    named = Counter(one.name for one in found if one.pack)
    return [_ambiguous(one, found) if named[one.name] > 1 and one.pack else one for one in found]


def open_pack(folder: Path, name: str, known: Mapping[Key, Prompt] | None = None) -> PromptPack:
    """Read the pack of a name, among those of a folder.

    Raises:
        NotInstalled: None has the name.
        BadFile: The folder, or the pack, cannot be used.
    """
    found = find_packs(folder, known)
    packs = [one.pack for one in found if one.pack and one.name == name]
    if packs:
        return packs[0]
    for one in found:
        if one.name == name:
            raise BadFile(path=str(folder / one.folder), line=None, reason=one.problem)
    raise NotInstalled.among("prompt pack", name, [one.name for one in found if one.pack])


def _found(place: Path, known: Mapping[Key, Prompt]) -> FoundPack:
    try:
        if (path := next(_open_to_all(place), None)) is not None:
            problem = f"others may write to {path.relative_to(place.parent)}"
            return FoundPack(place.name, place.name, None, problem)
        pack = read_pack(place, known)
    except BadFile as error:
        path = Path(str(error.data["path"])).relative_to(place.parent)
        return FoundPack(place.name, place.name, None, f"{path}: {error.data['reason']}")
    except OSError as error:  # files may come and go while they are read
        problem = f"it cannot be read: {error.strerror or error}"
        return FoundPack(place.name, place.name, None, problem)
    return FoundPack(place.name, pack.name, pack)


def _open_to_all(place: Path) -> Iterator[Path]:
    """Yield what anybody on the machine may change: prompts come from the operator alone."""
    for path in (place, *place.rglob("*")):
        if path.stat().st_mode & stat.S_IWOTH:
            yield path


def _ambiguous(one: FoundPack, found: Iterable[FoundPack]) -> FoundPack:
    folders = " and ".join(other.folder for other in found if other.name == one.name and other.pack)
    problem = f"{folders} are both called {one.name!r}; a name belongs to one pack"
    return replace(one, pack=None, problem=problem)
