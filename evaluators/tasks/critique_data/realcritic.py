"""RealCritic (arXiv 2501.14492): solutions of ten models to eight sets of questions, half wrong.

The gold answer is the authors' `gt`: for MATH their reading of the gold solution, for the others
the set's own answer. Answers are graded by `evaluators.grading`, whose agreement with the authors'
verdicts is tested; unlike theirs it takes 0.5 for 50 only where one of them is a percentage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evaluators.tasks.datasets import dataset
from evaluators.tasks.pinned import Row, read_rows

_PUBLIC = ("level", "type", "subfield", "answer_type", "unit")
"""Facts about the question that some of the sets have."""


def documents(*, sources: str, part: str, **_metadata: object) -> dict[str, Any]:
    """Build the split `test` of one of the eight sets."""
    return {"test": dataset([_document(row) for row in read_rows(sources, "realcritic", part)])}


def _document(row: Row) -> dict[str, object]:
    facts = {name: str(row[name]) for name in _PUBLIC if row.get(name) is not None}
    return {
        "question": row["question"],
        "gold": str(row["gt"]),
        "choices": _choices(row.get("choices")),
        "reasoning": row["reasoning"],
        "pred": row["pred"],
        "previous_score": row["previous_score"],
        "model": row["model"],
        **facts,
    }


def _choices(found: object) -> list[str]:
    """Return the options' texts: they stand in a list, or as ARC's `{text, label}`."""
    texts = found.get("text") if isinstance(found, Mapping) else found
    return [str(text) for text in texts] if isinstance(texts, list) else []
