"""RealCritic's layout (2501.14492): critique by steps, conclusion with a verdict, correction."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from evaluators.critique.policies import POLICIES
from evaluators.critique.quoting import own_words
from evaluators.critique.steps import index_of
from evaluators.critique.verdicts import Judged

LABEL = "student solution"
"""What the judged text is quoted as: a critic has no reason to name its own text so."""

MARKS = ("--- begin correction ---", "--- end correction ---")
"""Lines around a corrected solution."""

_HEADING = re.compile(
    r"^[ \t]{0,3}(?P<hash>#{1,6})?[*_\d.()\[\] \t-]{0,12}(?:begin[ \t]+)?"
    r"(?P<name>critique|conclusion|correction)\b(?P<rest>[^\n]*)",
    re.IGNORECASE | re.MULTILINE,
)
_FIRM = re.compile(r"^\W{0,8}verdict\W{0,8}(?:in)?correct\b", re.IGNORECASE | re.MULTILINE)
_FORM = re.compile(r"<[^<>\n]{0,80}>|\bcorrect\W{1,3}(?:or\W{1,3})?incorrect\b", re.IGNORECASE)
"""Blanks of the form, repeated instead of filled in."""
_STEP = re.compile(r"\bstep\b[^\d\n-]{0,20}(-?\d{1,4}\b|none\b)", re.IGNORECASE)
_REST = re.compile(r"[ \t]*(?:[-*_#.)\]]+[ \t]*$|[*_\])]*:[*_]*)?", re.MULTILINE)
"""What may follow a heading's word on its line."""
_NUMBER = re.compile(r"(?<![\w.,-])(-?\d{1,4})(?![\w]|[.,]\d)")


@dataclass(frozen=True, slots=True)
class Critique:
    """What was read out of a structured critique."""

    verdict: Judged | None
    """None where the conclusion is missing or says neither."""
    step: int | None
    """The step called the first wrong one, from 0; -1: there is none; None where nothing could be
    read, as without a verdict."""
    correction: str | None
    """The corrected solution, or the answer restated; None where there is neither."""
    answer: str
    """What to grade: the correction; without one the whole reply, as the authors do, except its
    conclusion, whose numbers are no answers."""


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    start: int
    body: int
    end: int


def parse_critique(reply: str) -> Critique:
    """Read verdict, first wrong step and correction of a reply in the layout.

    Only the critic's own words are read: headings and verdicts in quotations of the judged text
    (`own_words`) do not count, and of several conclusions the last one does that states its verdict
    on a line of its own or has a correction after it.
    """
    own = own_words(reply, LABEL)
    sections = _sections(own)
    conclusion = _conclusion(own, sections)
    verdict, step = None, None
    if conclusion:
        body = own[conclusion.body : conclusion.end]
        verdict = _verdict(body)
        step = _step(body, verdict) if verdict else None
    correction = _correction(reply, sections, after=conclusion.start if conclusion else 0)
    rest = reply[: conclusion.start] + reply[conclusion.end :] if conclusion else reply
    return Critique(verdict, step, correction, correction or rest.strip())


def _sections(own: str) -> list[_Section]:
    found = [m for m in _HEADING.finditer(own) if _is_heading(m)]
    ends = [*(m.start() for m in found[1:]), len(own)]
    return [
        _Section(m["name"].lower(), m.start(), m.start("rest"), end)
        for m, end in zip(found, ends, strict=False)
    ]


def _is_heading(found: re.Match[str]) -> bool:
    rest = found["rest"].lstrip("*_ \t")
    return bool(found["hash"]) or rest.startswith(":") or not rest.strip("-*_#.)] \t\r")


def _conclusion(own: str, sections: Sequence[_Section]) -> _Section | None:
    after = [*sections[1:], None]
    pairs = [(s, then) for s, then in zip(sections, after, strict=False) if s.name == "conclusion"]
    readable = [pair for pair in pairs if _verdict(own[pair[0].body : pair[0].end])]
    firm = [
        (section, then)
        for section, then in readable
        if (then and then.name == "correction") or _FIRM.search(own[section.body : section.end])
    ]
    best = firm or readable or pairs
    return best[-1][0] if best else None


def _verdict(body: str) -> Judged | None:
    return POLICIES["realcritic"].read(f"Conclusion\n{_FORM.sub(' ', body)}")


def _step(body: str, verdict: Judged) -> int | None:
    filled = _FORM.sub(" ", body)
    found = _STEP.search(filled) or _NUMBER.search(filled)
    if found:
        return -1 if found[1].lower() == "none" else index_of(int(found[1]))
    return -1 if verdict == "correct" else None


def _correction(reply: str, sections: Sequence[_Section], *, after: int) -> str | None:
    """Return what follows the first heading of a correction behind the conclusion."""
    bodies = [s.body for s in sections if s.name == "correction" and s.start >= after]
    if not bodies:
        return None
    text = _REST.sub("", reply[bodies[0] :], count=1)
    begin, end = MARKS
    text = text.partition(begin)[2] if begin in text else text
    text = text.rpartition(end)[0] if end in text else text
    return text.strip() or None
