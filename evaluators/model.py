"""The nouns of an evaluation: messages, samples, calls, transcripts, grades and results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
"""Anything that JSON can say."""

Speaker = Literal["system", "user", "assistant"]
"""Who says a message in a chat."""

ModelRole = Literal["actor", "critic", "judge"]
"""Which model answers a call; all roles may be played by one model."""

FinishReason = Literal["stop", "length", "content_filter"]
"""Why the runtime ended a completion; `length` means the text is truncated."""

SampleStatus = Literal["ok", "unscored", "infra_error"]
"""`ok`: graded. `unscored`: final, no score. `infra_error`: to be made again, never a score."""

TaskMode = Literal["generate_until", "generative", "likelihood"]
"""How a task is put: as lm-eval asks for text; as lettered options to choose from in writing; or by
the likelihood of every option. The last two are the two modes of multiple-choice tasks."""

Overlong = Literal["unscored", "drop_examples"]
"""What becomes of a prompt that does not fit: no score, or fewer few-shot examples, oldest first.
It is never cut silently."""

CAPABILITIES: Mapping[str, str] = MappingProxyType({
    "chat": "conversations of several turns, through the model's own chat template",
    "prefix": "going on with a given beginning of the assistant's text",
    "token_logprobs": "log-probabilities of the tokens it generates",
    "top_logprobs": "log-probabilities of the likeliest alternatives to a generated token",
    "label_likelihood": "log-probabilities of given labels of one token each as the next token",
    "echo": "the log-probability of a given text, summed over its tokens",
    "n": "several completions of one request",
    "full_vocab_stats": "statistics over the whole vocabulary at every token",
})  # fmt: skip
"""What runtimes may be able to do, and what it means; evaluators require it by these names."""

Information = Literal["intrinsic", "external_feedback", "oracle"]
"""What an evaluator may learn beyond the model itself; oracle results stand on their own board."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat."""

    role: Speaker
    """Who says it."""
    content: str
    """What is said."""
    node: int | None = field(default=None, compare=False)
    """Index of the transcript node that produced it, if a call did."""
    prompt: str = field(default="", compare=False)
    """The prompt file that it was written with, `name@hash`, if any."""

    def wire(self) -> dict[str, str]:
        """Return the message as OpenAI-compatible servers expect it."""
        return {"role": self.role, "content": self.content}


def system(text: str) -> Message:
    """Return a system message."""
    return Message("system", text)


def user(text: str) -> Message:
    """Return a user message."""
    return Message("user", text)


def assistant(text: str) -> Message:
    """Return an assistant message that no call produced."""
    return Message("assistant", text)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the runtime draws a completion."""

    max_tokens: int = 256
    """Upper bound on generated tokens."""
    temperature: float = 0.0
    """0 is greedy decoding."""
    top_p: float = 1.0
    """Nucleus mass; 1 keeps the whole distribution."""
    stop: tuple[str, ...] = ()
    """Strings that end the completion and are not part of it."""
    seed: int | None = None
    """Seed of this row alone, whatever else shares its batch; None when greedy."""
    logprobs: int | None = None
    """Alternatives to report for every generated token; 0 reports the generated ones alone."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One call to a model. A last message of the assistant is a prefix to be continued."""

    messages: tuple[Message, ...]
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One generated token with its natural log-probability."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()
    """The likeliest tokens in its place, likeliest first, as many as were asked for."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a runtime answered."""

    text: str
    finish_reason: FinishReason
    usage: Usage
    cached: bool = False
    """True when the text was taken from the store or shared with an equal call in flight."""
    seconds: float = 0.0
    """Time spent waiting for the runtime; 0 when cached. Never part of a result's identity."""
    logprobs: tuple[TokenLogprob, ...] = ()
    """One entry per generated token, where the sampling asked for them."""


@dataclass(frozen=True, slots=True)
class LikelihoodRequest:
    """The question how likely each of several texts is as the assistant's next words."""

    messages: tuple[Message, ...]
    """The chat; a last message of the assistant is the prefix that the choices follow."""
    choices: tuple[str, ...]
    """The texts, exactly as they would stand."""
    labels: bool = False
    """Every choice is one token: its probability as the next one is asked."""


@dataclass(frozen=True, slots=True)
class ChoiceLikelihood:
    """How likely one text is."""

    text: str
    logprob: float
    """Natural logarithm, summed over the text's tokens."""
    tokens: int
    """How many tokens the text has."""
    greedy: bool
    """The text is what greedy decoding would write."""


@dataclass(frozen=True, slots=True)
class Likelihoods:
    """What a runtime answered to a likelihood request."""

    choices: tuple[ChoiceLikelihood, ...]
    """In the order asked."""
    usage: Usage
    """Tokens scored; nothing is generated."""
    cached: bool = False
    seconds: float = 0.0
    """Time spent waiting for the runtime; 0 when cached. Never part of a result's identity."""


Request: TypeAlias = ChatRequest | LikelihoodRequest
Answered: TypeAlias = Completion | Likelihoods


@dataclass(frozen=True, slots=True)
class Given:
    """A solution that is put before the model to be judged; its label stays with the task."""

    text: str
    """The whole solution."""
    steps: tuple[str, ...] = ()
    """Its steps in order, where the data set has them apart."""
    author: str = ""
    """Who wrote it, such as a model's name; empty where that is not known."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One question as evaluators see it: no gold answer, no label."""

    id: str
    """Stable within its task."""
    task: str
    """Name of the task it belongs to."""
    messages: tuple[Message, ...]
    """The whole prompt as chat messages: system prompt, few-shot turns, question."""
    question: tuple[Message, ...]
    """The question alone: what to send when it is put a second time."""
    cluster: str = ""
    """Samples of one cluster are not independent; empty means the sample is its own cluster."""
    choices: tuple[str, ...] = ()
    """Options of a multiple-choice question; in likelihood mode the exact continuations."""
    metadata: Mapping[str, Json] = field(default_factory=lambda: MappingProxyType({}))
    """Public facts about the sample, such as its difficulty or category."""
    given: Given | None = None
    """A solution to judge, in tasks of critique; graded as an answer, it gets its stored label."""

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The whole prompt, for methods that do not care about its parts."""
        return self.messages


@dataclass(frozen=True, slots=True)
class Reply:
    """A completion as evaluators see it."""

    text: str
    """The generated text, without the stop string."""
    finish_reason: FinishReason
    """`length` means that the text is truncated."""
    usage: Usage
    node: int
    """Index of its node in the transcript."""
    prefix: str = ""
    """Assistant text that the call continued."""
    logprobs: tuple[TokenLogprob, ...] = ()
    """One entry per generated token, where they were asked for."""

    @property
    def message(self) -> Message:
        """The reply as the assistant message that carries the chat on."""
        return Message("assistant", self.prefix + self.text, node=self.node)


NodeKind = Literal[
    "answer", "critique", "verify", "decide", "reflect", "rewrite_input", "retrieve", "tool",
    "select", "merge", "vote", "step", "given",
]  # fmt: skip
"""What a node of a transcript is for."""


@dataclass(frozen=True, slots=True)
class Node:
    """One step of a trajectory: a call to a model, or a move that cost none."""

    idx: int
    kind: NodeKind
    role: ModelRole
    round: int
    """Which pass over the answer it belongs to, from 0."""
    parents: tuple[int, ...]
    """Nodes whose text it builds on."""
    messages: tuple[Message, ...]
    """What the model was shown; empty for moves that cost no call."""
    text: str
    finish_reason: FinishReason | None
    sampling: Sampling | None
    usage: Usage | None
    """None for moves that cost no call. Logical: counted whether or not the call was shared."""
    cached: bool = False
    """True when this run did not have to compute it."""
    agent: str = ""
    """Which of several speakers with the same role."""
    sees_gold: bool = False
    """The prompt was built after the gold answer had been read."""
    gated_by_gold: bool = False
    """It exists only because of a verdict that used the gold answer."""
    payload: Mapping[str, Json] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer state that is not a whole reply: part of one, or derived from several."""

    text: str
    node: int
    """The node it stands on."""
    likelihoods: tuple[ChoiceLikelihood, ...] = ()
    """Of every choice, in the sample's order, where the answer is the choice of a likelihood."""


@dataclass(frozen=True, slots=True)
class Scores:
    """The likelihoods of several texts as evaluators see them."""

    choices: tuple[ChoiceLikelihood, ...]
    """In the order asked."""
    usage: Usage
    node: int
    """Index of its node in the transcript."""

    @property
    def probabilities(self) -> tuple[float, ...]:
        """The probabilities, normalised over the choices alone."""
        top = max(choice.logprob for choice in self.choices)
        weights = [math.exp(choice.logprob - top) for choice in self.choices]
        return tuple(weight / sum(weights) for weight in weights)

    @property
    def best(self) -> int:
        """Index of the likeliest choice; the first of equals."""
        return max(range(len(self.choices)), key=lambda index: self.choices[index].logprob)

    def answer(self, index: int | None = None) -> Answer:
        """Return a choice as an answer, by default the likeliest."""
        chosen = self.choices[self.best if index is None else index]
        return Answer(chosen.text, self.node, self.choices)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the model said about one of its answers."""

    answer: int
    """Index into the outcome's answers."""
    value: Literal["correct", "wrong", "unsure"] | None
    """None when the verdict could not be parsed."""
    node: int
    score: float | None = None
    """The larger, the more likely right; a probability where it lies between 0 and 1."""
    step: int | None = None
    """The step called the first mistake, from 0; -1 says that there is none."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an evaluator hands back: the successive answers to one sample, first to last."""

    answers: Sequence[Reply | Answer]
    """Answer states in order; the engine grades every one."""
    verdicts: Sequence[Verdict] = ()
    facts: Mapping[str, Json] = field(default_factory=lambda: MappingProxyType({}))
    """Further facts under names of the evaluator's choosing."""
    stop_reason: str = ""
    """Why the method stopped, for methods that may stop early."""


@dataclass(frozen=True, slots=True)
class Grade:
    """A task's judgement of one answer."""

    correct: bool
    """Score reached the task's threshold."""
    score: float
    """The primary metric of the primary filter, as the task computes it."""
    extracted: str | None
    """What the primary filter took the answer to be; None when nothing could be extracted."""
    gold: str
    """The expected answer, for display. Never reaches an evaluator."""
    scores: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Every metric of every filter, keyed `metric,filter` as lm-eval does."""
    extractions: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    """What every filter extracted."""
    first_error: int | None = None
    """Where the task knows the first wrong step of the text, from 0; -1: it has none."""


@dataclass(frozen=True, slots=True)
class AnswerState:
    """One graded answer of a trajectory."""

    node: int
    text: str
    truncated: bool
    """The completion hit its token limit."""
    grade: Grade
    changed: bool = False
    """The answer differs from the one before it, by the task's equivalence."""
    likelihoods: tuple[ChoiceLikelihood, ...] = ()
    """What the answer was graded from, in likelihood mode."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a sample has no score."""

    error: str
    """Identifier from `evaluators.errors`, such as `evaluator-crashed`."""
    detail: str
    """One line for the person who has to mend it; the end of the traceback where there is one."""


@dataclass(frozen=True, slots=True)
class SampleResult:
    """Everything a run keeps of one sample."""

    sample: Sample
    replicate: int
    status: SampleStatus
    answers: tuple[AnswerState, ...] = ()
    nodes: tuple[Node, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    facts: Mapping[str, Json] = field(default_factory=lambda: MappingProxyType({}))
    stop_reason: str = ""
    failure: Failure | None = None
    oracle: bool = False
    """The evaluator asked for gold while working on this sample."""
    seconds: float = 0.0
    """Wall time; never part of a result's identity."""

    @property
    def calls(self) -> int:
        """How many model calls the method made."""
        return sum(node.usage is not None for node in self.nodes)

    @property
    def tokens_in(self) -> int:
        """Prompt tokens over all calls (logical)."""
        return sum(node.usage.prompt_tokens for node in self.nodes if node.usage)

    @property
    def tokens_out(self) -> int:
        """Generated tokens over all calls (logical)."""
        return sum(node.usage.completion_tokens for node in self.nodes if node.usage)

    @property
    def tokens_computed(self) -> int:
        """Generated tokens that this run really had to compute."""
        return sum(n.usage.completion_tokens for n in self.nodes if n.usage and not n.cached)
