"""One sample as a reader sees it: what was asked, what came back, how it was graded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.utils.safestring import SafeString

from leaderboard.core.rendering import output, preview
from leaderboard.runs.choices import Weighed, as_text, weighed
from leaderboard.runs.models import AnswerState, Judgement, Node, SampleResult

PAGE_BYTES = 300_000
"""Most bytes of untrusted text on one page; what is beyond is a download."""

KINDS = {
    "answer": "Answer",
    "critique": "Critique",
    "verify": "Verification",
    "decide": "Decision",
    "reflect": "Reflection",
    "rewrite_input": "Rewritten question",
    "retrieve": "Retrieval",
    "tool": "Tool",
    "select": "Selection",
    "merge": "Merged answer",
    "vote": "Vote",
    "step": "Step",
    "given": "Given text",
}


NODE_FIELDS = (
    "idx", "kind", "role", "round", "agent", "parents", "messages", "text", "clipped",
    "finish_reason", "sampling", "tokens_in", "tokens_out", "cached", "sees_gold", "gated_by_gold",
    "payload",
)  # fmt: skip
ANSWER_FIELDS = (
    "idx", "node_idx", "text", "clipped", "extracted", "correct", "score", "truncated", "changed",
    "scores", "extractions", "likelihoods", "first_error",
)  # fmt: skip
VERDICT_FIELDS = ("idx", "answer_idx", "node_idx", "value", "score", "step")


class Budget:
    """Hands out previews until a page is full."""

    def __init__(self, left: int = PAGE_BYTES) -> None:
        self.left = left

    def show(self, text: str, url: str) -> Excerpt:
        """Return the start of a text, or nothing but its link when the page is full."""
        shown = preview(text)
        markup = output(shown.text)
        cost = len(markup.encode())
        if cost > self.left:
            return Excerpt(SafeString(""), cut=True, bytes=shown.bytes, url=url)
        self.left -= cost
        return Excerpt(markup, cut=shown.cut, bytes=shown.bytes, url=url)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A text on a page, with the way to the rest of it."""

    markup: SafeString
    cut: bool
    bytes: int
    url: str
    """Where the whole text can be downloaded."""


@dataclass(frozen=True, slots=True)
class Line:
    """One message of a prompt."""

    role: str
    excerpt: Excerpt


@dataclass(frozen=True, slots=True)
class Option:
    """A choice that the model weighed, on a page."""

    excerpt: Excerpt
    weighed: Weighed

    @property
    def permille(self) -> int:
        """Its probability, for a bar."""
        return round(1000 * self.weighed.probability)


@dataclass(frozen=True, slots=True)
class Turn:
    """One node of the transcript with its grades and verdicts."""

    node: Node
    label: str
    asked: list[Line]
    """What is new in its prompt since the model last spoke."""
    prompt: list[Line]
    """The whole prompt."""
    reply: Excerpt
    options: list[Option] = field(default_factory=list)
    """Choices whose likelihood was asked instead of a reply."""
    answers: list[AnswerState] = field(default_factory=list)
    verdicts: list[Judgement] = field(default_factory=list)


def transcript(result: SampleResult, base_url: str) -> list[Turn]:
    """Return the turns of a sample in order, in three queries.

    Replies come out of the page's budget first, then what was asked, whole prompts last.
    """
    budget = Budget()
    nodes = list(result.nodes.all())
    answers, verdicts = list(result.answers.all()), list(result.judgements.all())
    replies = [budget.show(node.text, f"{base_url}node-{node.idx}/") for node in nodes]
    options = [_options(node, budget, f"{base_url}choices-{node.idx}/") for node in nodes]
    urls = [f"{base_url}prompt-{node.idx}/" for node in nodes]
    asked = [
        _lines(_new_messages(node), budget, url) for node, url in zip(nodes, urls, strict=True)
    ]
    prompts = [_lines(node.messages, budget, url) for node, url in zip(nodes, urls, strict=True)]
    return [
        Turn(
            node=node,
            label=KINDS.get(node.kind, node.kind),
            asked=asked[i],
            prompt=prompts[i],
            reply=replies[i],
            options=options[i],
            answers=[answer for answer in answers if answer.node_idx == node.idx],
            verdicts=[verdict for verdict in verdicts if verdict.node_idx == node.idx],
        )
        for i, node in enumerate(nodes)
    ]


def _options(node: Node, budget: Budget, url: str) -> list[Option]:
    return [Option(budget.show(choice.text, url), choice) for choice in weighed(node.payload)]


def _lines(messages: Sequence[Mapping[str, str]], budget: Budget, url: str) -> list[Line]:
    return [
        Line(str(m.get("role", "")), budget.show(str(m.get("content", "")), url)) for m in messages
    ]


def _new_messages(node: Node) -> Sequence[Mapping[str, str]]:
    """Return the messages after the last one by the model, or the last alone at the start."""
    messages: list[Mapping[str, str]] = node.messages
    spoken = [i for i, message in enumerate(messages) if message.get("role") == "assistant"]
    if node.round == 0 or not spoken:
        return messages[-1:]
    return messages[spoken[-1] + 1 :]


def whole_text(result: SampleResult, what: str) -> str | None:
    """Return the text that a download names: question, gold, answer-1, node-3 and such."""
    if what in {"question", "gold"}:
        return str(getattr(result, what))
    kind, _, index = what.partition("-")
    if not (index.isascii() and index.isdecimal() and len(index) < 6):
        return None
    if kind == "answer":
        answer = result.answers.filter(idx=int(index)).first()
        return answer.text if answer else None
    node = result.nodes.filter(idx=int(index)).first()
    return None if node is None else _text_of(node, kind)


def _text_of(node: Node, kind: str) -> str | None:
    match kind:
        case "node":
            return node.text
        case "prompt":
            return _as_text(node.messages)
        case "choices":
            return as_text(weighed(node.payload))
    return None


def _as_text(messages: Sequence[Mapping[str, str]]) -> str:
    return "\n\n".join(f"[{m.get('role', '')}]\n{m.get('content', '')}" for m in messages)


def as_json(result: SampleResult) -> dict[str, object]:
    """Return the sample with its whole transcript, texts as stored."""
    return {
        **row_json(result),
        "question": result.question,
        "given": result.sample.get("given"),
        "gold": result.gold,
        "stop_reason": result.stop_reason,
        "facts": result.facts,
        "oracle": result.oracle,
        "failure": {"id": result.failure_id, "detail": result.failure_detail}
        if result.failure_id
        else None,
        "nodes": list(result.nodes.values(*NODE_FIELDS)),
        "answers": list(result.answers.values(*ANSWER_FIELDS)),
        "verdicts": list(result.judgements.values(*VERDICT_FIELDS)),
    }


def row_json(result: SampleResult) -> dict[str, object]:
    """Return a sample as a row of a list."""
    return {
        "key": result.pk,
        "task": result.task,
        "sample_id": result.sample_id,
        "position": result.position,
        "replicate": result.replicate,
        "status": result.status,
        "flip": result.flip or None,
        "changed": result.changed,
        "truncated": result.truncated,
        "parsed": result.parsed,
        "calls": result.calls,
        "tokens_in": result.tokens_in,
        "tokens_out": result.tokens_out,
        "row_hash": result.row_hash,
    }
