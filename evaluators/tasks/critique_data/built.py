"""Sets that `critique-set` built from results: the documents of a task, each with a solution."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaluators.errors import BadFile
from evaluators.tasks.datasets import dataset
from evaluators.tasks.given import cluster_of
from evaluators.tasks.lettered import written_as
from evaluators.tasks.lm_eval import Doc, HarnessTask
from evaluators.tasks.solved import original_of

FIELDS = {
    "text": "given_text",
    "label": "given_correct",
    "author": "given_author",
    "answer": "given_answer",
}
"""What a document's solution is called in it, for `metadata: given:`."""

CLUSTER = "given_question"
"""The field with what solutions share that are not independent: as in the task that was solved, or
else the question's place there."""


def documents(
    *, rows: str, written: bool, config_source: str, **_metadata: object
) -> dict[str, Any]:
    """Build the split `test`: every solution with the document of the question it answers.

    Args:
        rows: The file of solutions, beside the task's own.
        written: The question reads as the document says; else options stand under it.
        config_source: The task's own file, which says what task was solved.

    Raises:
        BadFile: The task that was solved is not named, or has changed since.
    """
    original = original_of(Path(config_source))
    if original is None:
        reason = "does not say what task was solved; build the set anew"
        raise BadFile(path=config_source, line=None, reason=reason)
    path = Path(config_source).parent / rows
    task, told = HarnessTask(original), read_solutions(path)
    return {"test": dataset([_document(task, row, path, written=written) for row in told])}


def read_solutions(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of solutions; other breaks than these are part of a text."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def _document(
    task: HarnessTask, row: Mapping[str, Any], path: Path, *, written: bool
) -> dict[str, Any]:
    number = int(row["sample"])
    if number >= len(task.docs):
        reason = f"question {number} is not there any more: {task.name} has {len(task.docs)}"
        raise BadFile(path=str(path), line=None, reason=reason)
    doc = task.docs[number]
    reads = {task.question(doc)} if written else written_as(task.options(doc))
    if row["question"] not in reads:
        reason = f"question {number} of {task.name} is another one by now"
        raise BadFile(path=str(path), line=None, reason=reason)
    given = {
        "given_text": row["text"],
        "given_correct": row["correct"],
        "given_author": row["generator"],
        "given_answer": row["answer"],
        CLUSTER: _cluster(task, doc) or row["sample"],
    }
    return {**doc, **given}


def _cluster(task: HarnessTask, doc: Doc) -> str:
    """Return what puts a document into one cluster with others of its task; empty where nothing."""
    metadata = task.config.metadata
    name = metadata.get("cluster") if isinstance(metadata, Mapping) else None
    return cluster_of(doc, name) if isinstance(name, str) else ""
