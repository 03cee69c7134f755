"""Prompt packs: folders of texts that stand in for installed prompts, checked before use."""

from __future__ import annotations

import difflib
import hashlib
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evaluators.errors import BadFile
from evaluators.model import Json
from evaluators.strategies.prompts import Prompt, Replacements

PACK = "pack.toml"
"""The file that says what a pack is."""

Key = tuple[str, str]
"""A prompt's package and name."""


class _About(BaseModel):
    """What `pack.toml` says."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")
    version: str = Field(min_length=1, max_length=40)
    source: str = ""
    """Where the wording is from, such as a paper's appendix."""
    description: str = ""
    info_parity: bool = True
    """False allows prompts that demand what the question does not; results say so."""


@dataclass(frozen=True)
class PromptPack:
    """Texts that stand in for installed prompts, and where they come from."""

    name: str
    version: str
    prompts: Replacements
    """By the package and the name of the prompts that they stand in for."""
    originals: Replacements
    """The installed prompts that they stand in for."""
    digest: str
    """sha256 over names and texts of all prompts of the pack."""
    source: str = ""
    description: str = ""
    info_parity: bool = True
    """Its prompts may demand no form of the answer that the question does not ask for."""

    def only(self, used: Collection[Key]) -> PromptPack:
        """Return the pack with nothing but the prompts that some methods use; same digest."""
        kept = {key: prompt for key, prompt in self.prompts.items() if key in used}
        return replace(self, prompts=kept)

    def to_json(self) -> dict[str, Json]:
        """Return what results keep of the pack: its texts are in the transcripts."""
        return {
            "name": self.name,
            "version": self.version,
            "digest": self.digest,
            "source": self.source,
            "info_parity": self.info_parity,
            "prompts": {f"{package}/{name}": p.digest for (package, name), p in self._sorted()},
        }

    def _sorted(self) -> list[tuple[Key, Prompt]]:
        return sorted(self.prompts.items())


def read_pack(folder: Path, known: Mapping[Key, Prompt]) -> PromptPack:
    """Read `pack.toml` and `<package>/<prompt name>.txt` files, and check each prompt.

    Args:
        folder: The pack.
        known: Installed prompts: a pack can stand in for nothing else.

    Raises:
        BadFile: The folder is no pack; or a file stands for no installed prompt, is empty, is no
            template, or has other placeholders than the prompt that it stands in for.
    """
    about = _about(folder / PACK)
    prompts = {key: _prompt(path, key, known) for key, path in _files(folder)}
    if not prompts:
        reason = "holds no prompt: they are text files, <package>/<prompt name>.txt"
        raise BadFile(path=str(folder), line=None, reason=reason)
    told = "\0".join(f"{'/'.join(key)}\0{prompts[key].text}" for key in sorted(prompts))
    return PromptPack(
        about.name,
        about.version,
        prompts,
        {key: known[key] for key in prompts},
        hashlib.sha256(told.encode()).hexdigest(),
        about.source,
        about.description,
        about.info_parity,
    )


def write_pack(folder: Path, prompts: Collection[Prompt], *, name: str) -> Iterator[Path]:
    """Write installed prompts as a pack to start from, and yield the paths as they are written.

    Raises:
        BadFile: The folder is there and holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadFile(path=str(folder), line=None, reason="is there already and is not empty")
    for prompt in prompts:
        path = folder / prompt.package / f"{prompt.name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(prompt.text + "\n", encoding="utf-8")
        yield path
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PACK
    path.write_text(_SKELETON.format(name=name), encoding="utf-8")
    yield path


_SKELETON = """\
# Texts in <package>/<prompt name>.txt stand in for the installed prompts of those names.
# Delete the files that you do not change. Placeholders must stay; write a dollar sign as $$.
name = "{name}"
version = "1"
source = ""       # where the wording is from, such as "arXiv 2303.17651, appendix S"
description = ""
# info_parity = false   # allow prompts that demand what the question does not; results say so
"""


def _about(path: Path) -> _About:
    try:
        return _About.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        reason = f"no prompt pack: {error.strerror or error}"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = f"no TOML: {error}"
    except ValidationError as error:
        found = error.errors(include_url=False)
        reason = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found)
    raise BadFile(path=str(path), line=None, reason=reason)


def _files(folder: Path) -> Iterator[tuple[Key, Path]]:
    """Yield the prompts of a pack; what lies beside `pack.toml` is the author's business."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if len(parts) < 2 or path.is_dir() or any(part.startswith(".") for part in parts):
            continue
        if path.suffix != ".txt":
            raise BadFile(path=str(path), line=None, reason="prompts are text files, .txt")
        package, *rest = parts
        yield (package, "/".join(rest).removesuffix(".txt")), path


def _prompt(path: Path, key: Key, known: Mapping[Key, Prompt]) -> Prompt:
    package, name = key
    reason = _stranger(key, known)
    if not reason:
        try:
            text = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = f"cannot be read: {error}"
        else:
            reason = _unfit(text, known[key])
    if reason:
        raise BadFile(path=str(path), line=None, reason=reason)
    return Prompt(name, text, package)


def _stranger(key: Key, known: Mapping[Key, Prompt]) -> str:
    """Say that no such prompt is installed, and what is near; empty where it is."""
    if key in known:
        return ""
    names = {"/".join(one): one for one in known}
    near = difflib.get_close_matches("/".join(key), list(names), n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"no prompt {'/'.join(key)!r} is installed.{hint}"


def _unfit(text: str, original: Prompt) -> str:
    """Say why a text cannot stand in for a prompt; empty where it can."""
    if not text:
        return "is empty"
    if not Template(text).is_valid():
        return "a dollar sign that is no placeholder must be written as $$"
    there = Prompt(original.name, text).placeholders
    missing, unknown = original.placeholders - there, there - original.placeholders
    told = [
        f"{what} {', '.join(f'${name}' for name in sorted(names))}"
        for what, names in (("lacks", missing), ("has unknown", unknown))
        if names
    ]
    because = ": it must have the placeholders of the installed prompt"
    return " and ".join(told) + because if told else ""
