"""RealCritic (arXiv 2501.14492): solutions of ten models to eight sets of questions, half wrong.

The gold answer is the authors' `gt`: for MATH their reading of the gold solution, for the others
the set's own answer. Answers are graded by `evaluators.grading`, whose agreement with the authors'
verdicts is tested; unlike theirs it takes 0.5 for 50 only where one of them is a percentage. Where
the questions have options, a letter is the answer and the text of an option is none, as with them.
The answer of a given solution is read as those of the model are. The authors' `pred` is normalised:
`$36` beside it, as `36`, would look like another answer.
"""

from __future__ import annotations

from typing import Any

from evaluators.tasks.datasets import dataset
from evaluators.tasks.pinned import Row, read_rows


def documents(*, sources: str, part: str, **_metadata: object) -> dict[str, Any]:
    """Build the split `test` of one of the eight sets."""
    return {"test": dataset([_document(row) for row in read_rows(sources, "realcritic", part)])}


def _document(row: Row) -> dict[str, object]:
    return {
        "question": row["question"],
        "gold": str(row["gt"]),
        "reasoning": row["reasoning"],
        "previous_score": row["previous_score"],
        "model": row["model"],
    }
