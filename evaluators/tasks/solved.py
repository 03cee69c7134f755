"""Tasks built on another one: how their files name the task that was solved.

    solved: {task: echo_flips}           # an installed task, wherever it lies on this machine
    solved: {file: ../tasks/fours.yaml}  # one of one's own, seen from the folder of the built task

What the file itself does not say is as in the task that was solved.
"""

from __future__ import annotations

import os
from pathlib import Path

from evaluators.errors import BadFile, InputError
from evaluators.tasks.catalogue import Catalogue, read_yaml

KEY = "solved"


def reference(name: str, found: Path, folder: Path) -> dict[str, str]:
    """Return how a file in a folder names a task that was found, so that both may be moved.

    Args:
        name: The task.
        found: Its file.
        folder: Where the file that names it will lie.
    """
    try:
        installed = Catalogue().find(name)
    except InputError:  # none of this name is installed, or two are
        installed = None
    if installed is not None and installed.resolve() == found.resolve():
        return {"task": name}
    return {"file": Path(os.path.relpath(found.resolve(), folder.resolve())).as_posix()}


def original_of(path: Path) -> Path | None:
    """Return the file of the task that a task's file is built on; None where it names none.

    Raises:
        BadFile: The file cannot be read, or names it in no way that is known.
        NotInstalled, AmbiguousName: The task is not to be found by its name.
    """
    match read_yaml(path).get(KEY):
        case None:
            return None
        case {"task": str(name)}:
            return Catalogue().find(name)
        case {"file": str(name)}:
            return (path.resolve().parent / name).resolve()
        case other:
            raise BadFile(path=str(path), line=None, reason=f"{KEY}: names no task: {other!r:.60}")
