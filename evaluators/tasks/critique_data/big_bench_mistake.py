"""BIG-Bench Mistake (arXiv 2311.08516): traces of PaLM 2 with the place of their first mistake.

A trace is right when its answer is the gold answer, character by character, as the authors count.
That is not the same as being without a mistake: `mistake_index` says where the first one is, from
0, and null that there is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evaluators.answers import same_answer
from evaluators.tasks.datasets import dataset
from evaluators.tasks.extraction import INVALID
from evaluators.tasks.pinned import Row, read_rows

_MARK = re.compile(r"\banswer(?:\s+is\b\s*:?|\s*:)[ \t]*", re.IGNORECASE)
_LETTER = re.compile(r"\(?([A-Z])\)?\.?", re.IGNORECASE)
_BRACKETS = re.compile(r"[\s()\[\]{}<>]+")


def documents(*, sources: str, part: str, **_metadata: object) -> dict[str, Any]:
    """Build the split `test` of one of the five tasks."""
    rows = read_rows(sources, "big_bench_mistake", part)
    return {"test": dataset([_document(row) for row in rows])}


def _document(row: Row) -> dict[str, object]:
    return {
        "input": row["input"],
        "target": row["target"],
        "trace": "\n".join(row["steps"]),
        "steps": row["steps"],
        "answer": row["answer"],
        "right": row["answer"] == row["target"],
        "mistake_index": row["mistake_index"],
    }


def answers(responses: Iterable[Sequence[str]], _docs: object) -> list[list[str]]:
    """Take what follows the last "answer is" or "Answer:"; a `filter_fn` of lm-eval's `custom`."""
    return [[_answer(text) or INVALID for text in texts] for texts in responses]


def score(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Score an answer: equal to the gold one as numbers, option, brackets or words."""
    return {"exact_match": float(same(results[0], str(doc["target"])))}


def same(answer: str, gold: str) -> bool:
    """Tell whether two answers are the same one."""
    if answer == INVALID:
        return False
    if _BRACKETS.fullmatch(gold):
        return "".join(answer.split()) == "".join(gold.split())
    option, chosen = _LETTER.fullmatch(gold), _LETTER.fullmatch(answer)
    if option and chosen:
        return option[1].upper() == chosen[1].upper()
    return same_answer(answer.rstrip("."), gold)


def _answer(text: str) -> str | None:
    """Return the first line behind the last mark, without the blanks, quotes and stars around."""
    end = None
    for mark in _MARK.finditer(text):
        end = mark.end()
    if end is None:
        return None
    lines = (line.strip(" \t*`\"'") for line in text[end : end + 2000].splitlines())
    return next((line for line in lines if line), None)
