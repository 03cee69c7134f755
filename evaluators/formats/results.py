"""Everything a run keeps of its samples, as JSON lines that restore exactly what was kept."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from evaluators.errors import BadFile
from evaluators.formats.lines import problem, read_objects, write_lines
from evaluators.model import Json, SampleResult

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FLEETING = frozenset({"seconds", "cached"})
"""What two runs of one evaluation need not share: how long it took and who computed it."""

LATER = frozenset({"first_error", "given", "step"})
"""Fields that results did not always have: told only where they say something, so that what was
written or hashed before reads and hashes the same."""

T = TypeVar("T")

EXACT = 2**53
"""Up to here a float that is a whole number is one in every JSON reader."""

_SURROGATE = re.compile("[\ud800-\udfff]")


def to_json(result: SampleResult) -> dict[str, Json]:
    """Return a result as plain JSON: fields in order, mappings sorted, text safe to store.

    Raises:
        ValueError: It holds a number that JSON cannot say.
        TypeError: An evaluator put something into facts or payloads that is not JSON.
    """
    return cast("dict[str, Json]", _plain(result))


def to_identity(result: SampleResult) -> dict[str, Json]:
    """Return what must be equal, byte by byte, however often the run was interrupted."""
    return cast("dict[str, Json]", _plain(result, left_out=FLEETING))


def from_json(data: Mapping[str, Json]) -> SampleResult:
    """Restore a result.

    Raises:
        ValueError: The data is no result; the message says where.
    """
    return restore(SampleResult, json.dumps(data))


def to_line(result: SampleResult, *, identity: bool = False) -> str:
    """Return the result as one line of JSON."""
    data = to_identity(result) if identity else to_json(result)
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def write_results(path: Path, results: Iterable[SampleResult], *, identity: bool = False) -> Path:
    """Write a line per sample; a reader sees the whole file or none."""
    return write_lines(path, (to_line(result, identity=identity) for result in results))


def read_results(path: Path) -> Iterator[SampleResult]:
    """Yield the results of a file, line by line.

    Raises:
        BadFile: With the line's number and what is wrong in it.
    """
    for number, text, _ in read_objects(path):
        try:
            yield restore(SampleResult, text)
        except ValueError as error:
            raise BadFile(path=str(path), line=number, reason=str(error)) from error


def restore(kind: type[T], text: str) -> T:
    """Return the frozen dataclass of that kind that a JSON text tells of.

    Raises:
        ValueError: It tells of none; the message says where.
    """
    from pydantic import ValidationError

    try:
        return cast("T", _adapter(cast("Any", kind)).validate_json(text, strict=True))
    except ValidationError as error:
        raise ValueError(problem(error)) from error


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import JsonValue, TypeAdapter

    # pydantic looks names up here first, and cannot follow the recursive alias of this name.
    Json = JsonValue  # noqa: F841, N806 - read by name, see above
    return TypeAdapter(kind)


def plain(value: object) -> Json:
    """Return any of the library's nouns as plain JSON that says exactly what it holds.

    Raises:
        TypeError: It holds something that is not JSON.
    """
    return _plain(value, whole=False)


def _plain(value: object, *, left_out: frozenset[str] = frozenset(), whole: bool = True) -> Json:
    """Return plain JSON.

    Args:
        left_out: Fields of dataclasses that are not told.
        whole: Write 1.0 as 1: one number to JSON, so one spelling keeps equal results equal in
            bytes. Where a text is to be written as it was read, floats stay floats.
    """
    match value:
        case None | bool() | int():
            return value
        case str():
            return clean_text(value)
        case float():
            return int(value) if whole and value.is_integer() and abs(value) < EXACT else value
        case Mapping():
            items = sorted(value.items()) if whole else value.items()
            return {clean_text(k): _plain(v, left_out=left_out, whole=whole) for k, v in items}
        case Sequence():
            return [_plain(item, left_out=left_out, whole=whole) for item in value]
    if dataclasses.is_dataclass(value):
        told = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {
            name: _plain(held, left_out=left_out, whole=whole)
            for name, held in told.items()
            if name not in left_out and not (name in LATER and held is None)
        }
    msg = f"{type(value).__name__} is not JSON: {value!r:.60}"
    raise TypeError(msg)


def clean_text(text: str) -> str:
    """Return text that every database and file takes: no NUL, no half of a surrogate pair."""
    if "\0" in text:
        text = text.replace("\0", "")
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
