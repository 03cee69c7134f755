"""The control channel of a runtime's child: one JSON line on what was its standard output."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from evaluators.model import Json

PARENT_GONE = 3
"""Exit status of a child that lost its parent."""

FAILED = 4
"""Exit status of a child that could not serve its model and has said why."""


def take_over_stdout() -> int:
    """Return the channel; whatever else is printed from now on goes to standard error."""
    control = os.dup(1)
    os.dup2(2, 1)
    return control


def say(control: int, event: Mapping[str, Json]) -> None:
    """Tell the parent what happened."""
    os.write(control, (json.dumps(event) + "\n").encode())


def await_parents_end() -> None:
    """Wait for the end of standard input, which means that the parent is gone, however it died."""
    while os.read(0, 4096):
        pass
