"""CriticBench of Lin et al. (arXiv 2402.14809): responses of eight models to fifteen data sets.

Answers are read from the last `[[...]]`, where there is none as the data set's kind of answer is
read elsewhere, and compared as the authors do. Code is not run: its responses can be judged, and
corrections of them stay without a score.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from evaluators.errors import BadFile, GradeError
from evaluators.grading import extract, shared
from evaluators.grading.extraction import chosen_letter
from evaluators.tasks.datasets import dataset
from evaluators.tasks.extraction import INVALID, last_verdict, verdict_in
from evaluators.tasks.pinned import Row, read_rows

Kind = Literal["maths", "letter", "verdict", "words", "code"]

KINDS: Mapping[str, Mapping[str, Kind]] = {
    "math": {"gsm8k": "maths", "math": "maths", "aqua": "letter", "tabmwp": "maths"},
    "commonsense": {
        "csqa": "letter", "ambignq": "words", "strategyqa": "verdict", "hotpotqa": "words",
    },
    "symbolic": {"penguins": "letter", "coloredobject": "letter", "date": "letter"},
    "algorithmic": {"objectcounting": "maths", "repeatcopy": "words"},
    "code": {"mbpp": "code", "humaneval": "code"},
}  # fmt: skip
"""How the answers of each data set are compared, by group; names without blanks and case."""

ALL = "all"
"""Names all groups in one, for the benchmark's own figures: they are over all rows alike."""

LETTERS = "ABCDEF"

_MARKED = re.compile(r"\[\[(.{1,2000}?)\]\]", re.DOTALL)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_AFFIRMED = {"true": "yes", "false": "no"}


def documents(*, sources: str, group: str, **_metadata: object) -> dict[str, Any]:
    """Build the split `test` of one group of data sets, or of all.

    Raises:
        BadFile: The set holds a data set that is not known, so that nothing is left out unseen.
    """
    rows = read_rows(sources, "criticbench_thu", "all")
    known = {name for names in KINDS.values() for name in names}
    unknown = sorted({str(row["question_source"]) for row in rows if plain_name(row) not in known})
    if unknown:
        reason = f"holds data sets that are not known: {', '.join(unknown)}"
        raise BadFile(path="criticbench_thu", line=None, reason=reason)
    wanted = known if group == ALL else KINDS[group].keys()
    docs = [_document(row) for row in rows if plain_name(row) in wanted]
    if not docs:
        raise BadFile(path="criticbench_thu", line=None, reason=f"has no rows of {group}")
    return {"test": dataset(docs)}


def plain_name(row: Row) -> str:
    """Return a row's data set, however it is spelled."""
    return re.sub(r"[^a-z0-9]", "", str(row["question_source"]).casefold())


def _document(row: Row) -> dict[str, object]:
    golds = row["answer"] if isinstance(row["answer"], list) else [row["answer"]]
    return {
        "question": row["question"],
        "golds": [str(gold) for gold in golds],
        "dataset": plain_name(row),
        "response": row["response"],
        "response_label": row["response_label"],
    }


def kind_of(doc: Mapping[str, Any]) -> Kind:
    """Return how a document's answers are compared."""
    return next(names[doc["dataset"]] for names in KINDS.values() if doc["dataset"] in names)


def answers(
    responses: Iterable[Sequence[str]], docs: Iterable[Mapping[str, Any]]
) -> list[list[str]]:
    """Take the answer out of every response; a `filter_fn` of lm-eval's `custom` filter."""
    return [
        [_answer(text, kind_of(doc)) or INVALID for text in texts]
        for texts, doc in zip(responses, docs, strict=False)
    ]


def score(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Score an answer against any of the document's golds.

    Raises:
        GradeError: It is code, which only a sandbox may run.
    """
    kind, answer = kind_of(doc), results[0]
    if kind == "code":
        reason = "grading runs code that the model wrote: needs a sandbox"
        raise GradeError(task="criticbench_thu", reason=reason)
    right = answer != INVALID and any(same(answer, gold, kind) for gold in doc["golds"])
    return {"exact_match": float(right)}


def same(answer: str, gold: str, kind: Kind) -> bool:
    """Tell whether an answer is the gold one."""
    match kind:
        case "letter":
            return chosen(answer) == chosen(gold) is not None
        case "maths":
            return shared().grade(answer, gold).correct is True
        case "verdict":
            return _verdict(answer) == _verdict(gold) is not None
    return plain_words(answer) == plain_words(gold)


def _answer(text: str, kind: Kind) -> str | None:
    marked = _MARKED.findall(text)
    if marked:
        return str(marked[-1]).strip() or None
    match kind:
        case "letter":
            return chosen(text)
        case "verdict":
            return last_verdict(text)
        case "code":
            return text.strip() or None
    return extract(text)


def chosen(text: str) -> str | None:
    """Return the letter of the option that a text names."""
    found = chosen_letter(text, LETTERS)
    return found.text if found else None


def _verdict(text: str) -> str | None:
    found = verdict_in(text)
    return _AFFIRMED.get(found.lower(), found.lower()) if found else None


def plain_words(text: str) -> str:
    """Return words as SQuAD compares them: without case, punctuation, articles and blanks."""
    bare = "".join(letter for letter in text.casefold() if letter not in string.punctuation)
    return " ".join(_ARTICLES.sub(" ", bare).split())
