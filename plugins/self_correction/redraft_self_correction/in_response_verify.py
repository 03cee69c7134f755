"""In-response verification: one response that solves, checks itself, and solves again."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le

from evaluators.api import (
    Answer,
    Context,
    Outcome,
    Prompt,
    Sample,
    Verdict,
    critique,
    evaluator,
    metrics,
    strategies,
)
from redraft_self_correction.measures import flagged_c2i, flagged_i2c

SOLVE_AND_CHECK = Prompt.load("redraft_self_correction", "in_response_verify/solve_and_check")

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
    r"(?:(?:^|(?<=\s))[*_\[\"'(]+|\s|\b(?:so|thus|hence|my|the|our|final|overall)\b,?)+\Z",
    re.IGNORECASE,
)
"""Words that lead up to a verdict and belong to no solution."""
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
        yield Segment(_solution(response[start : stated.start()]), checked=True, value=value)
        if value == "correct":
            return
        remark = _REMARK.match(response, stated.end())
        start = remark.end() if remark else stated.end()
    rest = response[start:]
    if not start or rest.strip():
        begun = not start or _CHECK.search(rest) is not None
        yield Segment(_solution(rest), checked=begun, value=None)


def _solution(text: str) -> str:
    begun = _CHECK.search(text)
    if begun:
        return text[: begun.start()].strip()
    return (text[:-NEAR] + _LEAD_IN.sub("", text[-NEAR:])).strip()


@evaluator(
    metrics=[*metrics.decomposition, *metrics.verification, flagged_i2c, flagged_c2i],
    source="2502.12853",
)
async def in_response_verify(
    ctx: Context, sample: Sample, *, max_tokens: Annotated[int, Ge(64), Le(8192)] = 768
) -> Outcome:
    """Have one response solve, check and, until its own verdict approves, solve again.

    The inference of S2R (Ma et al., arXiv 2502.12853), whose models are trained to it; here the
    question asks for it. Every solution within the response is an answer, every check a verdict
    on the solution before it; what follows an approval is left out. A check that states no
    verdict counts as unreadable. The task's stop strings do not apply, as they would cut the
    response at its first answer. Calls: 1.

    Args:
        max_tokens: Token limit of the whole response, in place of the task's.
    """
    chat = strategies.instructed(sample.messages, SOLVE_AND_CHECK.message())
    reply = await ctx.generate(chat, max_tokens=max_tokens, stop=())
    answers: list[Answer] = []
    verdicts: list[Verdict] = []
    for segment in segments(reply.text):
        if segment.solution or not answers:
            answers.append(Answer(segment.solution, reply.node))
        if segment.checked:
            verdicts.append(Verdict(len(answers) - 1, segment.value, reply.node))
    approved = verdicts[-1].value == "correct"
    reason = strategies.APPROVED if approved else "the response ended"
    facts = {"judged": [verdict.answer for verdict in verdicts]}
    return Outcome(answers, verdicts, facts, reason)
