"""Checklists that a model writes for a question and holds answers against."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from evaluators.api import Context, Prompt, Reply, Sample, Verdict, critique, strategies

WRITE = Prompt.load("redraft_self_correction", "checklist/write")
CHECK = Prompt.load("redraft_self_correction", "checklist/check")

_BULLETS = " \t\r-*\u2022#[]().0123456789"
_REST = re.compile(r"[\W_]*(?:yes\W{1,6}(?:or\W{1,6})?no\W*)?", re.IGNORECASE)
"""What may stand behind the question of an item."""
_PLAIN = re.compile(
    r"^\W{0,4}(?:the (?:answer|result) is [*_]*)?(yes|no)(?=[*_]*(?:[,.:;!]|\s*$))",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a checklist, held against an answer."""

    question: str
    reason: Reply
    passed: bool | None
    """None where the reply says neither yes nor no."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A checklist held against an answer."""

    items: tuple[Item, ...]
    node: int
    """The checklist's own node."""

    @property
    def failed(self) -> tuple[Item, ...]:
        """The items that do not clearly pass."""
        return tuple(item for item in self.items if not item.passed)

    def verdict(self, answer: int) -> Verdict:
        """Return the pass rate as a verdict: correct where all items pass.

        A checklist without items says nothing; neither does one of which nothing is clearly
        failed and something is unreadable.
        """
        if not self.items:
            return Verdict(answer, None, self.node)
        value: critique.Judged | None = None if self.failed else "correct"
        if any(item.passed is False for item in self.items):
            value = "wrong"
        rate = (len(self.items) - len(self.failed)) / len(self.items)
        return Verdict(answer, value, self.items[-1].reason.node, rate)


def read_items(text: str, limit: int) -> list[str]:
    """Return the questions of a checklist, one per line, numbers and bullets left out."""
    lines = (line.rpartition("?") for line in text.split("\n"))
    found = (
        f"{asks}?".lstrip(_BULLETS) for asks, mark, rest in lines if mark and _REST.fullmatch(rest)
    )
    return list(dict.fromkeys(item for item in found if len(item) > 1))[:limit]


def read_result(text: str) -> bool | None:
    """Read the last `Result: YES` or `Result: NO`; without one, the last line that opens so."""
    found = critique.stated(text, mark=r"\bresult", yes="yes", no="no")
    if found:
        return bool(found[-1]["yes"])
    plain = _PLAIN.findall(text)
    return plain[-1].lower() == "yes" if plain else None


async def write_checklist(ctx: Context, sample: Sample, *, limit: int) -> tuple[Reply, list[str]]:
    """Have a checklist written from the question alone."""
    question = critique.quoted(strategies.question_text(sample), "question")
    asked = WRITE.message(question=question, limit=str(limit))
    written = await ctx.generate([asked], kind="critique", role="critic", round=0)
    return written, read_items(written.text, limit)


async def hold_against(
    ctx: Context,
    sample: Sample,
    answer: Reply,
    *,
    items: Sequence[str],
    written: Reply,
    round: int,  # noqa: A002 - as in generate
) -> Checked:
    """Ask for every item, each in a chat of its own, whether the answer passes it."""
    question = critique.quoted(strategies.question_text(sample), "question")
    response = critique.quoted(answer.message.content, "response")

    async def hold(number: int, item: str) -> Item:
        shown = critique.quoted(item, "item")
        reply = await ctx.generate(
            [CHECK.message(question=question, response=response, item=shown)],
            kind="verify",
            role="critic",
            round=round,
            agent=f"item {number}",
            parents=[written, answer],
        )
        return Item(
            item, reply, read_result(critique.own_words(reply.text, "question", "response", "item"))
        )

    async with asyncio.TaskGroup() as group:  # one refused call cancels its siblings
        tasks = [group.create_task(hold(n, item)) for n, item in enumerate(items, start=1)]
    return Checked(tuple(task.result() for task in tasks), written.node)
