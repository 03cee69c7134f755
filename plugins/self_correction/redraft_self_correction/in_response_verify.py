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

SOLVE_AND_CHECK = Prompt.load("redraft_self_correction", "in_response_verify/solve_and_check")

_CHECK = re.compile(
    r"^[^\w\n]*(?:check(?:ing)?\b\W{0,4}:|verification\W{0,4}:|wait\b"
    r"|(?:let me|let's|let us|i will|i'll)\s+(?:re|double|now)?[- ]?(?:check|verify)\b)",
    re.IGNORECASE | re.MULTILINE,
)
_JUDGED = r"(?:correct|right|wrong|incorrect|not\s+correct)"
_VERDICT = re.compile(
    rf"^(?:.*\bverdict\W{{0,6}}{_JUDGED}\b.*"
    rf"|\W*(?:the|this|my) (?:answer|solution) is {_JUDGED}\W*)$",
    re.IGNORECASE | re.MULTILINE,
)


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
    for stated in _VERDICT.finditer(response):
        value = strategies.read_verdict(stated[0])
        if value is None:
            continue  # the instruction repeated
        yield Segment(_solution(response[start : stated.start()]), checked=True, value=value)
        if value == "correct":
            return
        start = stated.end()
    rest = response[start:]
    if not start or rest.strip():
        begun = not start or _CHECK.search(rest) is not None
        yield Segment(_solution(rest), checked=begun, value=None)


def _solution(text: str) -> str:
    begun = _CHECK.search(text)
    return text[: begun.start() if begun else len(text)].strip()


@evaluator(metrics=[*metrics.decomposition, *metrics.verification], source="2502.12853")
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
    return Outcome(answers, verdicts, stop_reason=reason)
