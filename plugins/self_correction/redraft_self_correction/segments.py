"""The solutions within one response, and the verdict that the check of each ends on."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from evaluators.api import critique

_CHECK = re.compile(
    r"(?:^[^\w\n]{0,12}|(?<=[.!?] ))(?:check(?:ing)?\b\W{0,4}:|verification\W{0,4}:)"
    r"|^[^\w\n]{0,12}(?:wait\b"
    r"|(?:let me|let's|let us|i will|i'll)\s+(?:re|double|now)?[- ]?(?:check|verify)\b)",
    re.IGNORECASE | re.MULTILINE,
)
_SENTENCE = re.compile(
    r"^[^\w\n]{0,12}(?:the|this|my) (?:answer|solution) is"
    r" (?:(?P<yes>correct|right)|wrong|incorrect|not correct)[^\w\n?]{0,12}$",
    re.IGNORECASE | re.MULTILINE,
)
_LEAD_IN = re.compile(
    r"(?:(?:^|(?<=\s))[*_\[\"'(]+|[ \t]|\b(?:so|thus|hence|my|the|our|final|overall)\b,?)+\Z",
    re.IGNORECASE,
)
"""Words that lead up to a verdict on its line and belong to no solution."""
NEAR = 60
"""How far before a verdict they are looked for."""
_REMARK = re.compile(r"(?:[^\n.!?]|[.!?](?=\S))*[.!?]?")
"""What a verdict's own sentence goes on to say."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One solution of a response and the verdict that its check ends on."""

    solution: str
    """Empty where a check follows a check."""
    checked: bool
    """A check was begun, or a verdict stated."""
    value: critique.Judged | None


def segments(response: str) -> Iterator[Segment]:
    """Split a response into solutions, each with its verdict, up to the first approval."""
    start = 0
    found = [*critique.stated(response), *_SENTENCE.finditer(response)]
    for stated in sorted(found, key=lambda said: said.start()):
        if stated.start() < start:
            continue  # within the sentence of the verdict before
        value: critique.Judged = "correct" if stated["yes"] else "wrong"
        before = response[start : stated.start()]
        led = before[:-NEAR] + _LEAD_IN.sub("", before[-NEAR:])
        yield Segment(_solution(led), checked=True, value=value)
        if value == "correct":
            return
        remark = _REMARK.match(response, stated.end())
        start = remark.end() if remark else stated.end()
    rest = response[start:]
    if not start or re.search(r"\w", rest):
        begun = not start or _CHECK.search(rest) is not None
        yield Segment(_solution(rest), checked=begun, value=None)


def _solution(text: str) -> str:
    begun = _CHECK.search(text)
    return text[: begun.start() if begun else len(text)].strip()
