"""The steps of a solution: where they come from, how they are shown, how they are counted."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evaluators.model import Sample


def steps_of(sample: Sample, text: str) -> tuple[str, ...]:
    """Return the steps of a judged text: the task's own, where it gives them, else by its layout.

    Without steps of the task, paragraphs are steps; a text of one paragraph goes by its lines.
    """
    if sample.given and sample.given.steps and text == sample.given.text:
        return sample.given.steps
    paragraphs = _parts(r"\n\s*\n", text)
    return paragraphs if len(paragraphs) > 1 else _parts(r"\n", text)


def numbered_steps(steps: Sequence[str]) -> str:
    """Return steps as one text, numbered from 1."""
    return "\n\n".join(f"Step {number}: {step}" for number, step in enumerate(steps, start=1))


def index_of(number: int) -> int | None:
    """Return the index, from 0, of a step that prompts number from 1; -1, for none, stays.

    The one place where the two ways of counting meet. None where no step has such a number.
    """
    if number == -1:
        return -1
    return number - 1 if number >= 1 else None


def _parts(separator: str, text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in re.split(separator, text) if part.strip())
