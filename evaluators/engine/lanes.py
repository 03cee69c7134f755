"""Order of a transcript in which several agents worked at once: theirs, not the clock's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from evaluators.model import Message, Node, SampleResult


def in_lanes(result: SampleResult) -> SampleResult:
    """Number the nodes of a result so that they do not depend on who was answered first.

    Agents that do not wait for each other interleave as the runtime answers them, otherwise every
    time. Each agent's nodes stay in their order; between agents the lower round goes first, then
    the agent that began first, and no node comes before those it stands on.
    """
    order = _merged(result.nodes)
    if order == list(result.nodes):
        return result
    moved = {node.idx: index for index, node in enumerate(order)}

    def place(index: int) -> int:
        return moved.get(index, index)  # an author may name a node that is none

    return replace(
        result,
        nodes=tuple(_moved(node, place) for node in order),
        answers=tuple(replace(a, node=place(a.node)) for a in result.answers),
        verdicts=tuple(replace(v, node=place(v.node)) for v in result.verdicts),
    )


def _merged(nodes: Sequence[Node]) -> list[Node]:
    lanes: dict[str, list[Node]] = {}
    for node in nodes:
        lanes.setdefault(node.agent, []).append(node)
    waiting = [lane[::-1] for lane in lanes.values()]
    left = {node.idx for node in nodes}
    order: list[Node] = []
    while len(order) < len(nodes):
        # the first node that is left in the old order can always be placed
        heads = [lane for lane in waiting if lane]
        ready = [lane for lane in heads if left.isdisjoint(_before(lane[-1]))]
        node = min(ready, key=lambda lane: lane[-1].round).pop()
        left.discard(node.idx)
        order.append(node)
    return order


def _before(node: Node) -> list[int]:
    return [parent for parent in node.parents if parent < node.idx]


def _moved(node: Node, place: Callable[[int], int]) -> Node:
    def moved(message: Message) -> Message:
        return message if message.node is None else replace(message, node=place(message.node))

    return replace(
        node,
        idx=place(node.idx),
        parents=tuple(sorted(map(place, node.parents))),
        messages=tuple(map(moved, node.messages)),
    )
