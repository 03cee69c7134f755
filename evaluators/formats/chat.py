"""A transcript told as one conversation, for formats that know no branches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evaluators.model import Message, SampleResult


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the conversation."""

    role: str
    content: str
    node: int | None = None
    """The node that produced it, if one did."""
    answer: int | None = None
    """The first answer state that stands on it, from 0."""


def told(result: SampleResult) -> list[Turn]:
    """Return everything that was shown and said, in the order it happened.

    A call that starts over (a critique in a chat of its own, another draw) repeats what it was
    shown from where it leaves the conversation; nothing that a model saw is missing.
    """
    turns: list[Turn] = []
    answers = _answers(result)
    for node in result.nodes:
        if node.usage is None and node.idx not in answers:
            continue  # an injected or recorded move: it is shown where a call repeats it
        shared = _shared(turns, node.messages)
        turns += [Turn(m.role, m.content, m.node) for m in node.messages[shared:]]
        number = answers.get(node.idx)
        text = result.answers[number].text if number is not None and not node.text else node.text
        turns.append(Turn("assistant", text, node.idx, number))
    return turns or [Turn(m.role, m.content) for m in result.sample.messages]


def place(turns: list[Turn], node: int) -> int:
    """Return the place of the message that a node produced: the last one that says it."""
    places = [i for i, turn in enumerate(turns) if turn.node == node and turn.role == "assistant"]
    return places[-1] if places else len(turns) - 1


def _answers(result: SampleResult) -> Mapping[int, int]:
    found: dict[int, int] = {}
    for number, answer in enumerate(result.answers):
        found.setdefault(answer.node, number)
    return found


def _shared(turns: list[Turn], messages: tuple[Message, ...]) -> int:
    """Return how many messages of a call the conversation so far begins with and ends on."""
    if len(messages) < len(turns):
        return 0
    same = all(
        (turn.role, turn.content) == (message.role, message.content)
        for turn, message in zip(turns, messages, strict=False)
    )
    return len(turns) if same else 0
