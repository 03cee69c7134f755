"""Moves of verifying and gating: a verdict on an answer, and revision until one approves."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from evaluators.context import Context
from evaluators.critique.quoting import own_words, quoted
from evaluators.critique.verdicts import Judged, parse_verdict
from evaluators.model import Json, Message, ModelRole, NodeKind, Outcome, Reply, Sample, Verdict
from evaluators.strategies.prompts import Prompt

APPROVED = "an answer was approved"
"""Stop reason of a loop that a verdict ended."""

OUT_OF_ROUNDS = "no round was left"
"""Stop reason of a loop that no verdict ended."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read out of a critique, where that is more than a verdict."""

    value: Judged | None
    """None when nothing could be read."""
    score: float | None = None
    step: int | None = None
    """The step called the first mistake, from 0; -1 says that there is none."""


_PLAIN = re.compile(
    r"\b(?:answer|solution|response)\s+(?:above\s+|given\s+)?is\s+"
    r"(correct|right|wrong|incorrect|not\s+correct)[\s.!]{0,8}$",
    re.IGNORECASE | re.MULTILINE,
)


def read_verdict(text: str) -> Judged | None:
    """Read the last `Verdict: …`; without one, the last line that ends `the answer is correct`.

    Small models that are asked for a marker say so in their own words instead. Only a sentence that
    ends its line counts, so that no condition or question is taken for a verdict.
    """
    stated = parse_verdict(text)
    plain = _PLAIN.findall(text)
    if stated or not plain:
        return stated
    return "correct" if plain[-1].lower() in {"correct", "right"} else "wrong"


Read = Callable[[str], "Judged | Reading | None"]
"""Reads a critique; None where it says nothing readable."""


@dataclass(frozen=True, slots=True)
class Check:
    """A critique and the verdict in it."""

    reply: Reply
    verdict: Verdict

    @property
    def approves(self) -> bool:
        """Tell whether it calls the answer correct; one that cannot be read does not."""
        return self.verdict.value == "correct"


async def check(
    ctx: Context,
    chat: Sequence[Message],
    *,
    answer: int = 0,
    read: Read = read_verdict,
    kind: NodeKind = "verify",
    role: ModelRole = "actor",
    round: int | None = None,  # noqa: A002 - the field's own term
    agent: str = "",
    parents: Sequence[Reply | int] = (),
    temperature: float | None = None,
    max_tokens: int | None = None,
    labels: Sequence[str] = (),
) -> Check:
    """Ask for a critique and read its verdict.

    Args:
        chat: What the critic sees, the request for a verdict last.
        answer: Index of the judged answer among those that the method will return.
        read: How the critique is read.
        kind, role, round, agent, parents, temperature, max_tokens: As in `Context.generate`.
        labels: What texts in the chat are quoted as; where the critique repeats them it is not
            read, as they may hold verdicts of their own.
    """
    reply = await ctx.generate(
        chat,
        kind=kind,
        role=role,
        round=round,
        agent=agent,
        parents=parents,
        temperature=temperature,
        max_tokens=max_tokens,
    )
    found = read(own_words(reply.text, *labels))
    reading = found if isinstance(found, Reading) else Reading(found)
    verdict = Verdict(answer, reading.value, reply.node, reading.score, reading.step)
    return Check(reply, verdict)


async def check_afresh(
    ctx: Context,
    sample: Sample,
    answer: Reply,
    *,
    prompt: Prompt,
    shown: str | None = None,
    read: Read = read_verdict,
    kind: NodeKind = "critique",
    role: ModelRole = "critic",
    round: int | None = None,  # noqa: A002 - the field's own term
    agent: str = "",
) -> Check:
    """Ask for a critique in a chat of its own, of which the answer's author sees nothing.

    Args:
        answer: What is judged.
        prompt: Asks for it; its placeholders are `$question` and `$solution`, both fenced.
        shown: The answer as the critic sees it, such as one with its steps numbered.
        read, kind, role, round, agent: As in `check`.
    """
    asked = prompt.message(
        question=quoted(question_text(sample), "question"),
        solution=quoted(answer.message.content if shown is None else shown, "solution"),
    )
    return await check(
        ctx,
        [asked],
        read=read,
        kind=kind,
        role=role,
        round=round,
        agent=agent,
        parents=[answer],
        labels=("question", "solution"),
    )


@dataclass(frozen=True, slots=True)
class Revisions:
    """How a loop of checks and revisions went."""

    answers: tuple[Reply, ...]
    checks: tuple[Check, ...]
    """In order; their verdicts name the answer of this loop that they are about."""
    stop_reason: str

    @property
    def last(self) -> Reply:
        """The answer that the loop ended on."""
        return self.answers[-1]

    @property
    def approved(self) -> bool:
        """Tell whether a verdict ended the loop."""
        return self.stop_reason == APPROVED

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdicts, in order."""
        return tuple(check.verdict for check in self.checks)

    def outcome(self, **facts: Json) -> Outcome:
        """Return answers and verdicts as a method hands them back."""
        return Outcome(self.answers, self.verdicts, facts, self.stop_reason)


Judge = Callable[[Reply, int], Awaitable[Check]]
"""Checks an answer in a round, counted from 1."""

Improve = Callable[[Reply, Check, int], Awaitable[Reply]]
"""Revises an answer after its check, in a round counted from 1."""


async def until_approved(first: Reply, *, rounds: int, judge: Judge, improve: Improve) -> Revisions:
    """Check and revise an answer until a check approves it or the rounds are used up.

    A verdict that cannot be read approves nothing: the loop goes on. The answer of the last round
    is not checked. Calls: up to 2 per round, where judging and improving are one call each.
    """
    answers, checks = [first], list[Check]()
    for number in range(1, rounds + 1):
        checked = await judge(answers[-1], number)
        verdict = replace(checked.verdict, answer=len(answers) - 1)
        checks.append(replace(checked, verdict=verdict))
        if checked.approves:
            return Revisions(tuple(answers), tuple(checks), APPROVED)
        answers.append(await improve(answers[-1], checked, number))
    return Revisions(tuple(answers), tuple(checks), OUT_OF_ROUNDS)


def refined_by(
    ctx: Context,
    sample: Sample,
    prompt: Prompt,
    *,
    agent: str = "",
    temperature: float | None = None,
) -> Improve:
    """Return the move that shows the author of an answer a critique of it, and nothing before it.

    Args:
        prompt: Asks for the new answer; its placeholder is `$critique`, fenced.
        agent, temperature: As in `Context.generate`.
    """

    async def improve(answer: Reply, checked: Check, number: int) -> Reply:
        asked = prompt.message(critique=quoted(checked.reply.text, "critique"))
        return await ctx.generate(
            [*sample.messages, answer.message, asked],
            round=number,
            agent=agent,
            parents=[checked.reply],
            temperature=temperature,
        )

    return improve


async def revise_in_chat(
    ctx: Context,
    messages: Sequence[Message],
    first: Reply,
    *,
    rounds: int,
    verify: Prompt,
    revise: Prompt,
    read: Read = read_verdict,
    kind: NodeKind = "verify",
    role: ModelRole = "actor",
    agent: str = "",
    temperature: float | None = None,
) -> Revisions:
    """Verify and revise an answer in one growing chat until a verdict approves it.

    Args:
        messages: The chat that the first answer replies to.
        first: That answer.
        rounds: Most revisions.
        verify, revise: What is said after an answer, and after a check that does not approve.
        read, kind, role: Of the checks, as in `check`.
        agent: Name of the chain, where several run at once.
        temperature: Of checks and revisions alike; None leaves both at their defaults.
    """
    chat = [*messages]

    async def judge(answer: Reply, number: int) -> Check:
        chat.extend([answer.message, verify.message()])
        return await check(
            ctx,
            chat,
            read=read,
            kind=kind,
            role=role,
            round=number,
            agent=agent,
            temperature=temperature,
        )

    async def improve(_: Reply, checked: Check, number: int) -> Reply:
        chat.extend([checked.reply.message, revise.message()])
        return await ctx.generate(chat, round=number, agent=agent, temperature=temperature)

    return await until_approved(first, rounds=rounds, judge=judge, improve=improve)


def instructed(
    messages: Sequence[Message], instruction: Message, *, begun: bool = True
) -> list[Message]:
    """Return a chat with an instruction added to its last user message.

    For methods whose first call asks for more than the task does. Chat templates need not take two
    user messages in a row.

    Args:
        begun: Words with which the task begins the answer stay last; False leaves them out, for
            calls that ask for no answer.
    """
    chat = [*messages]
    last = max(index for index, message in enumerate(chat) if message.role == "user")
    text = f"{chat[last].content}\n\n{instruction.content}"
    chat[last] = replace(chat[last], content=text, prompt=instruction.prompt)
    return chat if begun else chat[: last + 1]


def question_text(sample: Sample) -> str:
    """Return the question alone as one text, for prompts that show it outside its chat."""
    return "\n\n".join(m.content for m in sample.question if m.role == "user")
