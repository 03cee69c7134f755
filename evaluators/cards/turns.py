"""A method's turns: its example played through the engine, as a graph of what builds on what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from evaluators.cards.files import CardFile
from evaluators.evaluator import Evaluator
from evaluators.model import Given, Message, Node, Sample, SampleResult
from evaluators.testing import play

QUESTION = "question"
"""What the task itself asks, among what a turn is asked."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One step of the example."""

    idx: int
    kind: str
    """What it is for: answer, critique, verify, decide, vote, ..."""
    role: str
    """Which model answers, where several may take part."""
    round: int
    """Which pass over the answer it belongs to, from 0."""
    agent: str
    """Which of several speakers with the same role."""
    parents: tuple[int, ...]
    """Turns whose text it builds on."""
    after: tuple[int, ...]
    """The parents that no other parent builds on: the arrows of a diagram."""
    asked: tuple[str, ...]
    """What is put before the model after its last words: `question`, or names of prompts."""
    text: str
    """The scripted reply, the likeliest choice, or what a move without a call came to."""
    call: bool
    """It costs a call to a model."""
    answers: tuple[int, ...]
    """Which answer states it gives, from 1: several where a later choice falls on it."""
    correct: bool | None
    """Whether that answer is right."""
    verdict: str | None
    """What it said of an earlier answer."""
    gated_by_gold: bool
    """It exists only because of a verdict that used the gold answer."""


async def play_example(evaluator: Evaluator, card: CardFile) -> tuple[Turn, ...]:
    """Play a card's example through the real engine and return its turns.

    Raises:
        BadParameter: The example's parameters are not the method's.
        ValueError: The method did not finish on it; the message says why.
    """
    on = card.example_sample
    given = Given(on.given, on.steps) if on.given or on.steps else None
    result = await play(
        evaluator,
        card.example,
        gold=on.gold,
        choices=on.choices,
        given=given,
        first_error=on.first_error,
        **card.example_params,
    )
    if result.failure:
        raise ValueError(result.failure.detail)
    return turns_of(result)


def turns_of(result: SampleResult) -> tuple[Turn, ...]:
    """Return the turns of any result, in the order in which they were taken."""
    states = list(enumerate(result.answers, start=1))
    right = {state.node: state.grade.correct for state in result.answers}
    verdicts = {verdict.node: verdict.value for verdict in result.verdicts}
    parents = {node.idx: node.parents for node in result.nodes}
    return tuple(
        Turn(
            idx=node.idx,
            kind=node.kind,
            role=node.role,
            round=node.round,
            agent=node.agent,
            parents=node.parents,
            after=_nearest(node.idx, parents),
            asked=_asked(node, result.sample),
            text=node.text or _likeliest(node),
            call=node.usage is not None,
            answers=tuple(number for number, state in states if state.node == node.idx),
            correct=right.get(node.idx),
            verdict=verdicts.get(node.idx),
            gated_by_gold=node.gated_by_gold,
        )
        for node in result.nodes
    )


def _nearest(idx: int, parents: Mapping[int, Sequence[int]]) -> tuple[int, ...]:
    """Return the parents that are not also ancestors of another parent."""
    farther = _ancestors(parents[idx], parents)
    return tuple(parent for parent in parents[idx] if parent not in farther)


def _ancestors(nodes: Iterable[int], parents: Mapping[int, Sequence[int]]) -> set[int]:
    found: set[int] = set()
    waiting = [parent for node in nodes for parent in parents[node]]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting.extend(parents[node])
    return found


def _asked(node: Node, sample: Sample) -> tuple[str, ...]:
    """Name what stands before the model after its own last words."""
    spoken = [index for index, message in enumerate(node.messages) if message.role == "assistant"]
    new = node.messages[spoken[-1] + 1 if spoken else 0 :]
    names = [_name(message, sample) for message in new if message.role == "user" or message.prompt]
    return tuple(dict.fromkeys(name for name in names if name))


def _likeliest(node: Node) -> str:
    """Return the choice that likelihoods fell on, where nothing was written."""
    choices, weights = node.payload.get("choices"), node.payload.get("logprobs")
    if not isinstance(choices, list) or not isinstance(weights, list):
        return ""
    best = max(zip(weights, choices, strict=True), key=lambda pair: float(str(pair[0])))
    return f"likeliest: {best[1]}"


def _name(message: Message, sample: Sample) -> str:
    if message.prompt:
        return message.prompt.partition("@")[0]
    ours = {known.content for known in (*sample.messages, *sample.question)}
    return QUESTION if message.content in ours else ""
