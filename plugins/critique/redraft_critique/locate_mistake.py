"""Locate mistake: where does a solution first go wrong?"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from evaluators.api import (
    Context,
    Outcome,
    Prompt,
    Reply,
    Sample,
    Verdict,
    critique,
    evaluator,
    metrics,
    strategies,
)

TRACE = Prompt.load("redraft_critique", "locate_mistake/trace")
STEP = Prompt.load("redraft_critique", "locate_mistake/step")
COT_STEP = Prompt.load("redraft_critique", "locate_mistake/cot_step")

Said = Literal["correct", "wrong"] | None

SHORT = 32
"""Token limit of replies that are one word or number."""

FACTS = {"locates": True}
"""Says that what cannot be read here is a location missed."""

_FIRST = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)
_LAST = re.compile(r"\banswer\W{0,6}(yes|no)\b|\b(yes|no)\W*\Z", re.IGNORECASE)

_REQUEST = re.compile(r"\b(?:yes|no)\b\W{0,3}(?:\bor\b|/)\W{0,3}(?:yes|no)\b", re.IGNORECASE)
"""Both words in one breath: the request repeated, which says nothing."""


@evaluator(metrics=[*metrics.verification], roles=["critic"], source="2311.08516", controls=())
async def locate_mistake(
    ctx: Context,
    sample: Sample,
    *,
    own: bool = False,
    method: Literal["direct_trace", "direct_step", "cot_step"] = "direct_step",
) -> Outcome:
    """Find the first wrong step of a given solution, or of the model's own answer.

    Mistake finding after Tyen et al. (arXiv 2311.08516), greedily; zero-shot, where the authors
    show three examples. By trace: the whole solution is shown once, the reply is `No` or a step's
    number. By step: every step is asked about with those before it, in order, until the first
    `No`. Where the task has no steps of its own, paragraphs are steps, and lines are in a text of
    one paragraph. The figures are `location_acc` and its like, which need gold locations: a
    solution with a mistake may still end right, so those of verdicts say less here. A reply that
    cannot be read is a miss; by step, one among replies of `Yes` leaves the location open. Calls:
    1 by trace, else the number of the step found, at most the steps; one more for an answer of its
    own.

    Args:
        own: Judge the model's own answer even where the task gives a solution: self-critique.
        method: The whole trace at once, step by step with one word, or with reasoning.
    """
    solution = await critique.subject(ctx, sample, own=own)
    steps = critique.steps_of(sample, solution.text)
    if not steps:
        blank = Verdict(0, None, solution.node)
        return Outcome([solution], [blank], FACTS, stop_reason="there are no steps")
    ask = _Questions(ctx, strategies.question_text(sample), solution.node)
    if method == "direct_trace":
        node, step = await _by_trace(ask, steps)
    else:
        node, step = await _by_step(ask, steps, reasoned=method == "cot_step")
    value: Said = None if step is None else "correct" if step == -1 else "wrong"
    return Outcome([solution], [Verdict(0, value, node, step=step)], FACTS | {"steps": len(steps)})


@dataclass(frozen=True, slots=True)
class _Questions:
    """One question after another about the steps of one solution."""

    ctx: Context
    question: str
    solution: int

    async def __call__(self, prompt: Prompt, steps: Sequence[str], *, number: int = 1) -> Reply:
        shown = critique.quoted(critique.numbered_steps(steps), critique.LABEL)
        return await self.ctx.generate(
            [prompt.message(question=self.question, solution=shown, number=str(number))],
            kind="verify",
            role="critic",
            round=number,
            parents=[self.solution],
            max_tokens=None if prompt is COT_STEP else SHORT,
        )


async def _by_trace(ask: _Questions, steps: Sequence[str]) -> tuple[int, int | None]:
    """Ask once; return the reply's node and the step, from 0."""
    reply = await ask(TRACE, steps)
    step = critique.LOCATIONS["bigbench"](critique.own_words(reply.text, critique.LABEL))
    return reply.node, step if step is not None and step < len(steps) else None


async def _by_step(
    ask: _Questions, steps: Sequence[str], *, reasoned: bool
) -> tuple[int, int | None]:
    """Ask about each step until one is called wrong; return that node and the step, from 0."""
    location: int | None = -1
    for number in range(1, len(steps) + 1):
        prompt = COT_STEP if reasoned else STEP
        reply = await ask(prompt, steps[:number], number=number)
        approves = _approves(reply.text, reasoned=reasoned)
        if approves is False:
            return reply.node, critique.index_of(number)
        if approves is None:
            location = None
    return reply.node, location


def _approves(text: str, *, reasoned: bool) -> bool | None:
    """Read Yes or No: the first word of a short reply, the last one of a reasoned reply."""
    own = _REQUEST.sub(" ", critique.own_words(text, critique.LABEL))
    if not reasoned:
        found = _FIRST.match(own)
        return found[1].lower() == "yes" if found else None
    said = [(one or other).lower() for one, other in _LAST.findall(own)]
    return said[-1] == "yes" if said else None
