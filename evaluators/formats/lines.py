"""Lines of JSON, read one by one with their numbers and written whole or not at all."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

from evaluators.errors import BadFile

if TYPE_CHECKING:
    from pydantic import ValidationError

MAX_LINE = 64 * 1024 * 1024
"""Bytes; a longer line is no line of ours and must not fill the memory."""

STANDARD_INPUT = Path("-")


def read_objects(
    path: Path, *, constants: bool = False
) -> Iterator[tuple[int, str, dict[str, object]]]:
    """Yield number, text and object of every line that is not blank; `-` is standard input.

    Args:
        constants: Take NaN and Infinity, which are not JSON but which Python's writers write.

    Raises:
        BadFile: The file cannot be read, or a line is not a JSON object in UTF-8.
    """
    found = False
    with _opened(path) as file:
        for number, text in _texts(path, file):
            found = True
            yield number, text, _object(path, number, text, constants=constants)
    if not found:
        raise BadFile(path=str(path), line=None, reason="there is no line in it")


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    if path == STANDARD_INPUT:
        yield sys.stdin.buffer
        return
    try:
        file = path.open("rb")
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadFile(path=str(path), line=None, reason=reason) from error
    with file:
        yield file


def _texts(path: Path, file: IO[bytes]) -> Iterator[tuple[int, str]]:
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise BadFile(path=str(path), line=number, reason=f"longer than {MAX_LINE} bytes")
        try:
            # A byte-order mark is no part of the text, and some editors write one.
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            reason = f"not UTF-8 at byte {error.start + 1}"
            raise BadFile(path=str(path), line=number, reason=reason) from error
        if text:
            yield number, text


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that a whole file holds; NaN and Infinity are taken.

    Raises:
        BadFile: The file cannot be read or is not one JSON object.
    """
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadFile(path=str(path), line=None, reason=reason) from error
    except json.JSONDecodeError as error:
        reason = f"not JSON: {error.msg}"
        raise BadFile(path=str(path), line=error.lineno, reason=reason) from error
    except (ValueError, RecursionError) as error:
        raise BadFile(path=str(path), line=None, reason=f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadFile(path=str(path), line=None, reason="not a JSON object")
    return value


def _object(path: Path, number: int, text: str, *, constants: bool) -> dict[str, object]:
    try:
        value = json.loads(text, parse_constant=None if constants else _refuse_constant)
    except RecursionError as error:
        raise BadFile(path=str(path), line=number, reason="nested too deeply") from error
    except ValueError as error:
        raise BadFile(path=str(path), line=number, reason=f"not JSON: {error}") from error
    if not isinstance(value, dict):
        reason = f"not a JSON object but {_KINDS.get(type(value), type(value).__name__)}"
        raise BadFile(path=str(path), line=number, reason=reason)
    return value


_KINDS = {
    list: "a list",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def _refuse_constant(name: str) -> NoReturn:
    msg = f"{name} is not a JSON number"
    raise ValueError(msg)


def problem(error: ValidationError) -> str:
    """Return the first problem as one line: where, what, and what stood there."""
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    what = first["msg"].removeprefix("Value error, ")
    shown = repr(first["input"])
    shown = shown if len(shown) <= 60 else f"{shown[:60]}…"
    told = f", not {shown}" if first["type"] not in {"missing", "value_error"} else ""
    return f"{where}: {what}{told}" if where else f"{what}{told}"


def write_lines(path: Path, lines: Iterable[str]) -> Path:
    """Write a file line by line; a reader sees all of it or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.", suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
        part.chmod(0o644)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return path
