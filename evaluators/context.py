"""What an evaluator holds in its hand while it works on one sample."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from random import Random
from typing import Any, TypeVar

from evaluators.errors import BudgetExceeded, ContextTooLong, EvaluatorError
from evaluators.model import (
    Answer,
    Answered,
    ChatRequest,
    ChoiceLikelihood,
    Completion,
    Grade,
    Json,
    LikelihoodRequest,
    Message,
    ModelRole,
    Node,
    NodeKind,
    Reply,
    Sample,
    Sampling,
    Scores,
)
from evaluators.ports import Model, Task

T = TypeVar("T")

FREE_TEXT_TOKENS = 256
"""Token limit of calls that are not answers, unless the evaluator sets one."""

SEED_BITS = 31
"""Seeds fit a signed 32-bit integer, which every runtime accepts."""


@dataclass(slots=True)
class Allowance:
    """What one sample may spend; None is no limit."""

    max_calls: int | None = None
    max_tokens: int | None = None
    """Generated tokens over all calls."""
    calls: int = 0
    tokens: int = 0

    def reserve(self) -> None:
        """Count one more call.

        Raises:
            BudgetExceeded: The sample has used up its calls or its tokens.
        """
        if self.max_calls is not None and self.calls >= self.max_calls:
            raise BudgetExceeded(kind="calls", value=self.calls + 1, limit=self.max_calls)
        if self.max_tokens is not None and self.tokens >= self.max_tokens:
            raise BudgetExceeded(kind="tokens", value=self.tokens, limit=self.max_tokens)
        self.calls += 1


@dataclass(frozen=True, slots=True)
class OracleVerdict:
    """What gold says of one answer; true when it is right."""

    grade: Grade
    _context: Context = field(repr=False)

    def __bool__(self) -> bool:
        """Tell whether the answer is right."""
        return self.grade.correct

    @property
    def gold(self) -> str:
        """The expected answer; reading it marks every later node as having seen gold."""
        self._context.sees_gold = True
        return self.grade.gold


class Context:
    """One sample's way to the model. Each call becomes a node of the transcript.

    Evaluators use `generate`, `generate_many`, `likelihood`, `extract`, `record` and `oracle`; the
    engine makes the context and reads `nodes` afterwards. There is no other way to a model, and no
    way to the gold answer but `oracle`.

    Args:
        sample: What to work on.
        models: Who answers for which role; `actor` is there always and stands in for the others.
        task: Extracts and grades answers.
        seed: Root of all seeds; it belongs to the suite, so that methods share first answers.
        replicate: Which of several independent trajectories this is.
        allowance: What the sample may spend.
        free_text_tokens: Token limit of calls that are not answers, where nothing else sets one.
    """

    def __init__(
        self,
        sample: Sample,
        *,
        models: Mapping[ModelRole, Model],
        task: Task,
        seed: int = 0,
        replicate: int = 0,
        allowance: Allowance | None = None,
        free_text_tokens: int = FREE_TEXT_TOKENS,
    ) -> None:
        self.sample = sample
        self.replicate = replicate
        self.used_oracle = False
        self.sees_gold = False
        self._models = models
        self._task = task
        self._seed = seed
        self._allowance = allowance or Allowance()
        self._free_text_tokens = free_text_tokens
        # One slot per node, taken when a call starts: concurrent calls keep their order.
        self._slots: list[Node | None] = []
        self._equal_calls: Counter[str] = Counter()

    @property
    def nodes(self) -> list[Node]:
        """The transcript so far, in the order in which calls were made."""
        return [node for node in self._slots if node is not None]

    async def generate(
        self,
        messages: Sequence[Message],
        *,
        kind: NodeKind = "answer",
        role: ModelRole = "actor",
        round: int | None = None,  # noqa: A002 - the field's own term
        agent: str = "",
        parents: Sequence[Reply | int] = (),
        temperature: float | None = None,
        top_p: float | None = None,
        max_tokens: int | None = None,
        stop: Sequence[str] | None = None,
        logprobs: int | None = None,
    ) -> Reply:
        """Ask the model once and return its reply.

        Answer calls follow the task's stop strings, token limit and temperature; other kinds do
        not, so that a critique is not cut off by a rule made for answers.

        Args:
            messages: The chat so far; a last message of the assistant is continued.
            kind: What the call is for.
            role: Which model answers, where several take part.
            round: Pass over the answer; by default the number of assistant turns before it.
            agent: Name of the speaker, where several share a role.
            parents: Earlier replies quoted inside a new message; others are found by themselves.
            temperature, top_p, max_tokens, stop: Replace the defaults of the call's kind.
            logprobs: Alternatives to report per token; 0 reports the generated tokens alone.

        Raises:
            CallRefused: The runtime will never serve this request.
            RuntimeUnavailable: The runtime is gone; the engine makes the sample again.
            BudgetExceeded: The sample has used up its calls or tokens.
        """
        self._allowance.reserve()
        chat = _without_spent_prefixes(messages)
        wanted = self._sampling(kind, temperature, top_p, max_tokens=max_tokens, stop=stop)
        speaker = [role, agent] if agent and _turns(chat, self.sample) else [role]
        sampling = self._seeded(chat, replace(wanted, logprobs=logprobs), speaker)
        self._record_given(chat)
        slot = self._take_slot()
        model = self._model(role)
        chat, completion, dropped = await self._fitting(
            chat, lambda shown: model.complete(ChatRequest(shown, sampling))
        )
        self._allowance.tokens += completion.usage.completion_tokens
        node = self._fill_call(
            slot,
            completion,
            chat=chat,
            kind=kind,
            role=role,
            round=round,
            agent=agent,
            parents=parents,
            sampling=sampling,
            payload=_sum_of_logprobs(completion) | dropped,
        )
        return _reply(completion, node, chat)

    async def generate_many(
        self, messages: Sequence[Message], count: int, **options: Any
    ) -> list[Reply]:
        """Ask the same thing `count` times at once; replies come in the order of their nodes.

        Meant for temperatures above 0: each call has a seed of its own.
        """
        import asyncio

        async with asyncio.TaskGroup() as group:  # one refused call cancels its siblings
            calls = [group.create_task(self.generate(messages, **options)) for _ in range(count)]
        return [call.result() for call in calls]

    async def likelihood(
        self,
        messages: Sequence[Message],
        choices: Sequence[str],
        *,
        labels: bool = False,
        kind: NodeKind = "answer",
        role: ModelRole = "actor",
        round: int | None = None,  # noqa: A002 - the field's own term
        parents: Sequence[Reply | int] = (),
    ) -> Scores:
        """Ask how likely each choice is as the model's next words; one call, nothing generated.

        Args:
            messages: The chat so far; a last message of the assistant is what the choices follow.
            choices: The texts, exactly as they would stand.
            labels: Every choice is one token (capability `label_likelihood`); otherwise the
                log-probabilities of a choice's tokens are summed (capability `echo`).
            kind, role, round, parents: As in `generate`.

        Raises:
            CallRefused: The runtime cannot tell, or a label is not one token.
            RuntimeUnavailable: The runtime is gone; the engine makes the sample again.
            BudgetExceeded: The sample has used up its calls or tokens.
        """
        self._allowance.reserve()
        chat = _without_spent_prefixes(messages)
        self._record_given(chat)
        slot = self._take_slot()
        model, texts = self._model(role), tuple(choices)
        chat, found, dropped = await self._fitting(
            chat, lambda shown: model.likelihood(LikelihoodRequest(shown, texts, labels))
        )
        logprobs = [choice.logprob for choice in found.choices]
        payload: dict[str, Json] = {
            "choices": list(choices), "logprobs": logprobs, "labels": labels,
        }  # fmt: skip
        node = self._fill_call(
            slot,
            found,
            chat=chat,
            kind=kind,
            role=role,
            round=round,
            agent="",
            parents=parents,
            sampling=None,
            payload=payload | dropped,
        )
        return Scores(found.choices, found.usage, node.idx)

    async def extract(self, answer: Reply | str) -> str | None:
        """Return what the task takes the answer to be; None when nothing can be extracted.

        Uses the task's own filter and never the gold answer.
        """
        text = answer.text if isinstance(answer, Reply) else answer
        return await self._task.extract(self.sample.id, text)

    async def oracle(self, answer: Reply | Answer | str) -> OracleVerdict:
        """Ask gold whether the answer is right. Marks the run as an oracle run for ever."""
        self.used_oracle = True
        (grade,) = await self._task.grade(self.sample.id, [gradable(answer)])
        return OracleVerdict(grade, self)

    def record(
        self,
        kind: NodeKind,
        text: str = "",
        *,
        parents: Sequence[Reply | int] = (),
        round: int = 0,  # noqa: A002 - the field's own term
        agent: str = "",
        **payload: Json,
    ) -> Node:
        """Write down a move that costs no call, such as a vote, with what it stands on.

        Raises:
            TypeError, ValueError: The payload is nothing that JSON can say.
        """
        json.dumps(payload, allow_nan=False)
        return self._fill(
            self._take_slot(),
            kind=kind,
            role="actor",
            round=round,
            agent=agent,
            parents=_parents((), parents),
            messages=(),
            text=text,
            finish_reason=None,
            sampling=None,
            usage=None,
            payload=payload,
        )

    def random(self, name: str) -> Random:
        """Return random numbers that seed, sample, replicate and a name decide, and no call."""
        place = [self._seed, self.sample.task, self.sample.id, self.replicate, name]
        return Random(json.dumps(place))  # noqa: S311 - for orders and draws, not for secrets

    async def _fitting(
        self, chat: tuple[Message, ...], ask: Callable[[tuple[Message, ...]], Awaitable[T]]
    ) -> tuple[tuple[Message, ...], T, dict[str, Json]]:
        """Ask; where the task says so, with fewer few-shot examples until the prompt fits."""
        dropped = 0
        while True:
            try:
                answered = await ask(chat)
            except ContextTooLong:
                shorter = _without_oldest_example(chat, self.sample)
                if self._task.info.overlong != "drop_examples" or shorter is None:
                    raise
                chat, dropped = shorter, dropped + 1
            else:
                return chat, answered, {"dropped_examples": dropped} if dropped else {}

    def _model(self, role: ModelRole) -> Model:
        return self._models.get(role) or self._models["actor"]

    def _take_slot(self) -> int:
        self._slots.append(None)
        return len(self._slots) - 1

    def _fill(self, slot: int, **fields: Any) -> Node:
        node = Node(idx=slot, sees_gold=self.sees_gold, gated_by_gold=self.used_oracle, **fields)
        self._slots[slot] = node
        return node

    def _fill_call(
        self,
        slot: int,
        answered: Answered,
        *,
        chat: Sequence[Message],
        round: int | None,  # noqa: A002 - the field's own term
        parents: Sequence[Reply | int],
        payload: Mapping[str, Json],
        **fields: Any,
    ) -> Node:
        """Make the node of a call, with what follows from its chat and its answer."""
        generated = answered if isinstance(answered, Completion) else None
        return self._fill(
            slot,
            round=_turns(chat, self.sample) if round is None else round,
            parents=_parents(chat, parents),
            messages=chat,
            text=generated.text if generated else "",
            finish_reason=generated.finish_reason if generated else None,
            usage=answered.usage,
            cached=answered.cached,
            payload={**_prompts(chat), **payload},
            **fields,
        )

    def _record_given(self, chat: Sequence[Message]) -> None:
        """Make nodes of assistant messages that no call produced and the prompt does not hold."""
        known = {id(message) for message in self.sample.messages}
        seen = {node.text for node in self.nodes if node.kind == "given"}
        for message in chat[:-1]:
            foreign = message.role == "assistant" and message.node is None
            if foreign and id(message) not in known and message.content not in seen:
                self.record("given", message.content)

    def _sampling(
        self,
        kind: NodeKind,
        temperature: float | None,
        top_p: float | None,
        *,
        max_tokens: int | None,
        stop: Sequence[str] | None,
    ) -> Sampling:
        task = self._task.info.sampling
        default = task if kind == "answer" else Sampling(max_tokens=self._free_text_tokens)
        return Sampling(
            max_tokens=default.max_tokens if max_tokens is None else max_tokens,
            temperature=default.temperature if temperature is None else temperature,
            top_p=default.top_p if top_p is None else top_p,
            stop=default.stop if stop is None else tuple(stop),
        )

    def _seeded(self, chat: Sequence[Message], sampling: Sampling, by: Sequence[str]) -> Sampling:
        """Give a sampled call the seed that only its place decides, never the order of calls.

        Occurrence counts equal calls within the trajectory: the third equal call of any method
        has the same seed, so methods share their sampled first answers. Agents' later turns count
        apart: which of them comes first is the runtime's doing.
        """
        if sampling.temperature == 0:
            return sampling
        wire = [message.wire() for message in chat]
        call = json.dumps([*by, wire, sampling.temperature, sampling.top_p], sort_keys=True)
        occurrence = self._equal_calls[call]
        self._equal_calls[call] += 1
        place = json.dumps(
            [self._seed, self.sample.task, self.sample.id, self.replicate, occurrence, call]
        )
        digest = hashlib.sha256(place.encode()).digest()
        return replace(sampling, seed=int.from_bytes(digest[:4]) >> (32 - SEED_BITS))


def _reply(completion: Completion, node: Node, chat: Sequence[Message]) -> Reply:
    return Reply(
        completion.text,
        completion.finish_reason,
        completion.usage,
        node.idx,
        prefix=chat[-1].content if chat and chat[-1].role == "assistant" else "",
        logprobs=completion.logprobs,
    )


def gradable(answer: Reply | Answer | str) -> str | tuple[ChoiceLikelihood, ...]:
    """Return what a task grades: the likelihoods where the answer has them, else the text."""
    if isinstance(answer, Answer) and answer.likelihoods:
        return answer.likelihoods
    return answer if isinstance(answer, str) else answer.text


def _without_spent_prefixes(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Drop the opening words that a task gave the assistant where the reply to them follows.

    A task may begin the assistant's answer; the reply's message holds those words again, and a
    chat that goes on with it must not say them twice.
    """
    spent = {
        index
        for index, (before, after) in enumerate(pairwise(messages))
        if before.role == after.role == "assistant" and after.content.startswith(before.content)
    }
    return tuple(message for index, message in enumerate(messages) if index not in spent)


def _without_oldest_example(
    chat: tuple[Message, ...], sample: Sample
) -> tuple[Message, ...] | None:
    """Return the chat without the first few-shot example of the prompt; None if it has none."""
    ours = {id(message) for message in sample.messages}
    shown = [m.role if id(m) in ours else "" for m in chat]
    for index in range(len(chat) - 2):
        # what follows an example is another question of the prompt, at last the sample's own
        if shown[index : index + 3] == ["user", "assistant", "user"]:
            return chat[:index] + chat[index + 2 :]
    return None


def _turns(chat: Sequence[Message], sample: Sample) -> int:
    """Count the assistant turns that the method itself has put into the chat."""
    given = {id(message) for message in sample.messages}
    return sum(m.role == "assistant" and id(m) not in given for m in chat[:-1])


def _prompts(chat: Sequence[Message]) -> dict[str, Json]:
    """Return the prompt files that the chat was written with, each with its hash."""
    found = list(dict.fromkeys(message.prompt for message in chat if message.prompt))
    return {"prompts": found} if found else {}


def _sum_of_logprobs(completion: Completion) -> dict[str, Json]:
    """Return what the transcript keeps of log-probabilities: their sum and count."""
    if not completion.logprobs:
        return {}
    total = math.fsum(token.logprob for token in completion.logprobs)
    return {"sum_logp": total, "n_tok": len(completion.logprobs)}


def _parents(chat: Sequence[Message], named: Sequence[Reply | int]) -> tuple[int, ...]:
    by_message = [message.node for message in chat if message.node is not None]
    by_name = [entry.node if isinstance(entry, Reply) else entry for entry in named]
    return tuple(sorted({*by_message, *by_name}))


def require_outcome(name: str, value: object) -> None:
    """Refuse what an evaluator returned unless it is an outcome that can be graded and stored.

    Raises:
        EvaluatorError: It is something else; the reason says what.
    """
    from evaluators.model import Answer, Outcome

    if not isinstance(value, Outcome):
        raise EvaluatorError(evaluator=name, reason=f"returned {type(value).__name__}, not Outcome")
    if not value.answers:
        raise EvaluatorError(evaluator=name, reason="returned an outcome without answers")
    for answer in value.answers:
        if not isinstance(answer, Reply | Answer):
            raise EvaluatorError(
                evaluator=name, reason=f"an answer is a {type(answer).__name__}, not a reply"
            )
    try:
        json.dumps(dict(value.facts), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise EvaluatorError(evaluator=name, reason=f"facts cannot be stored: {error}") from error
