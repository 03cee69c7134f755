"""Data files at a pinned revision: fetched once, locked by their sha256, counted before use.

A package of tasks says in its `sources.toml` where each set comes from:

    [realcritic]
    github = "tangzhy/RealCritic"        # or hub = "owner/name", a data set of the Hub
    revision = "0fbc04a1..."             # 40 hex: what a branch or tag stands for may change
    key = ["question", "reasoning"]      # two rows that agree in these are one row twice

    [realcritic.files.gsm8k]
    path = "data/mix_data/gsm8k/test.jsonl"
    local = "realcritic/gsm8k.jsonl"     # where it lies in a folder of one's own
    rows = 273

`REDRAFT_DATA_DIR` names such a folder; nothing is fetched then. `REDRAFT_SOURCES` names a TOML file
of one's own whose entries win over the package's.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from evaluators.errors import BadFile
from evaluators.tasks.environment import DATA_DIR, SOURCES
from evaluators.tasks.fetching import fetch_from_github, fetch_from_hub
from evaluators.tasks.index import cache_folder

Row = dict[str, Any]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class File(_Strict):
    """One file of a set."""

    path: Annotated[str, Field(min_length=1)]
    """In the repository; a pattern where only one file fits it."""
    local: Annotated[str, Field(min_length=1)]
    """In a folder of one's own; a pattern where only one file fits it."""
    rows: Annotated[int, Field(ge=1)]


class Source(_Strict):
    """Where a set comes from."""

    github: str = ""
    hub: str = ""
    revision: str = ""
    endpoint: str = "https://raw.githubusercontent.com"
    """Where files of GitHub repositories are served."""
    key: Annotated[list[str], Field(min_length=1)]
    licence: str = ""
    """For people; what the set may be used for."""
    files: Annotated[dict[str, File], Field(min_length=1)]

    @model_validator(mode="after")
    def _comes_from_one_place(self) -> Source:
        if bool(self.github) == bool(self.hub):
            msg = "name either a github or a hub repository"
            raise ValueError(msg)
        return self


def read_rows(package: str, name: str, part: str) -> list[Row]:
    """Return the rows of one file of a set, whole and unchanged since it was first used here.

    Args:
        package: The package of tasks whose `sources.toml` names the set, such as `acme.tasks`.
        name: The set.
        part: The file.

    Raises:
        BadFile: It is missing, cut off, changed, or not what the sources promise; why.
        OSError: It cannot be fetched.
    """
    source, told = _source(package, name)
    if part not in source.files:
        raise BadFile(path=str(told), line=None, reason=f"{name} has no file {part!r}")
    file = source.files[part]
    folder = os.environ.get(DATA_DIR)
    if folder:
        path, revision = _single(Path(folder), file.local), ""
    else:
        path, revision = _fetched(source, file, told, name=name), source.revision
    content = path.read_bytes()
    rows = _parsed(path, content)
    _check(path, rows, file=file, key=source.key)
    _lock(path, content, place=cache_folder() / "data" / "locks" / name / f"{part}.json",
          revision=revision)  # fmt: skip
    return rows


def _source(package: str, name: str) -> tuple[Source, Path]:
    """Return a set's entry, the caller's own over the package's, and the file that named it."""
    bundled = _folder(package) / "sources.toml"
    own = os.environ.get(SOURCES)
    tables = [(path, _toml(path)) for path in (bundled, *([Path(own)] if own else []))]
    named = [(path, table[name]) for path, table in tables if name in table]
    if not named:
        raise BadFile(path=str(bundled), line=None, reason=f"names no data set {name!r}")
    merged: dict[str, Any] = {}
    for _, entry in named:
        for key in ("github", "hub"):  # another place takes the place of the first
            if key in entry:
                merged = {k: v for k, v in merged.items() if k not in ("github", "hub")}
        merged |= entry
    path = named[-1][0]
    try:
        return Source.model_validate(merged), path
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join([name, *map(str, first["loc"])])
        reason = f"{where}: {first['msg'].removeprefix('Value error, ')}"
        raise BadFile(path=str(path), line=None, reason=reason) from error


def _folder(package: str) -> Path:
    """Find the package's folder below its top-level package, without importing it."""
    top, *rest = package.split(".")
    spec = find_spec(top)
    for root in (spec.submodule_search_locations if spec else None) or ():
        folder = Path(root).joinpath(*rest)
        if folder.is_dir():
            return folder
    raise BadFile(path=package, line=None, reason="there is no such package")


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadFile(path=str(path), line=None, reason=str(error)) from error


def _single(folder: Path, pattern: str) -> Path:
    """Return the one file that a pattern names."""
    found = sorted(folder.glob(pattern))
    if len(found) == 1:
        return found[0]
    told = f"there are {len(found)} files of that name" if found else "there is no such file"
    reason = f"{told}, and {DATA_DIR} says that the data lie in {folder}"
    raise BadFile(path=str(folder / pattern), line=None, reason=reason)


def _fetched(source: Source, file: File, told: Path, *, name: str) -> Path:
    """Return the file from the cache, or fetch it at its pinned revision."""
    if len(source.revision) != 40 or not set(source.revision) <= set("0123456789abcdef"):
        where = source.github or source.hub
        shown = repr(source.revision) if source.revision else "none is named"
        reason = (
            f"{name}: the revision of {where} must be a commit of 40 hex digits, and {shown}; "
            f"name it in a file of your own ({SOURCES}), or put the data into a folder ({DATA_DIR})"
        )
        raise BadFile(path=str(told), line=None, reason=reason)
    cache = cache_folder() / "data"
    if source.hub:
        return fetch_from_hub(source.hub, source.revision, file.path, cache=cache / "hub")
    kept = cache / "github" / source.github / source.revision / file.path
    return fetch_from_github(source.endpoint, source.github, source.revision, file.path, to=kept)


def _parsed(path: Path, content: bytes) -> list[Row]:
    """Read rows from JSON lines, a JSON list or Parquet, as the file's name says."""
    if path.suffix == ".parquet":
        from pyarrow import parquet  # type: ignore[import-untyped] # it has no types

        table: list[Row] = parquet.read_table(path).to_pylist()
        return table
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadFile(path=str(path), line=None, reason="is not UTF-8") from error
    pieces = [(None, text)] if path.suffix == ".json" else list(enumerate(text.split("\n"), 1))
    return [row for number, piece in pieces if piece.strip() for row in _rows(path, number, piece)]


def _rows(path: Path, number: int | None, piece: str) -> list[Row]:
    try:
        value = json.loads(piece)
    except ValueError as error:
        raise BadFile(path=str(path), line=number, reason=f"not JSON: {error}") from error
    rows = value if number is None else [value]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadFile(path=str(path), line=number, reason="not a JSON object per row")
    return rows


def _check(path: Path, rows: Sequence[Row], *, file: File, key: Sequence[str]) -> None:
    """Refuse rows that are missing, too many, twice or without what tells them apart."""
    if len(rows) != file.rows:
        reason = f"holds {len(rows)} rows, and the set has {file.rows}: it was cut off or changed"
        raise BadFile(path=str(path), line=None, reason=reason)
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        lacking = [name for name in key if name not in row]
        if lacking:
            reason = f"row {number} has no field {lacking[0]!r}"
            raise BadFile(path=str(path), line=number, reason=reason)
        first = seen.setdefault(json.dumps([row[name] for name in key], default=str), number)
        if first != number:
            reason = f"row {number} is row {first} once more ({', '.join(key)})"
            raise BadFile(path=str(path), line=number, reason=reason)


def _lock(path: Path, content: bytes, *, place: Path, revision: str) -> None:
    """Keep the file's sha256 when it is first used, and refuse another one from then on."""
    now = {"sha256": hashlib.sha256(content).hexdigest(), "revision": revision}
    kept = _kept(place)
    if kept is None:
        kept = _keep(place, now)
    undo = f"remove {place} if that is wanted"
    if revision and kept["revision"] and kept["revision"] != revision:
        reason = f"is of revision {revision}, and {kept['revision']} was used before; {undo}"
        raise BadFile(path=str(path), line=None, reason=reason)
    if kept["sha256"] != now["sha256"]:
        reason = (
            f"its sha256 is {now['sha256'][:16]}…, and {kept['sha256'][:16]}… was used before: "
            f"the file was changed; {undo}"
        )
        raise BadFile(path=str(path), line=None, reason=reason)


def _kept(place: Path) -> Mapping[str, str] | None:
    try:
        kept = json.loads(place.read_text(encoding="utf-8"))
        return {"sha256": str(kept["sha256"]), "revision": str(kept["revision"])}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadFile(path=str(place), line=None, reason=f"is no lock: {error!r}") from error


def _keep(place: Path, lock: Mapping[str, str]) -> Mapping[str, str]:
    """Write a lock unless another process was first; return the one that holds."""

    def write(part: Path) -> None:
        part.write_text(json.dumps(lock), encoding="utf-8")

    try:
        _written_once(place, write)
    except OSError as error:
        reason = f"the data cannot be locked: {error.strerror or error}; see REDRAFT_CACHE"
        raise BadFile(path=str(place), line=None, reason=reason) from error
    return _kept(place) or lock


def _written_once(place: Path, write: Callable[[Path], None]) -> None:
    """Write a file whole, unless it is there already; of two writers the first one's stays."""
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=place.parent, suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        write(part)
        try:
            place.hardlink_to(part)
        except FileExistsError:
            return
    finally:
        part.unlink(missing_ok=True)
