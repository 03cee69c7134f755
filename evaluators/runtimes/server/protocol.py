"""What the server and its models say to each other, and how requests are read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, TypeGuard

from evaluators.model import (
    CAPABILITIES,
    ChoiceLikelihood,
    FinishReason,
    Json,
    Message,
    Sampling,
    Speaker,
    TokenLogprob,
)

MOST_TOP = 20
"""Most alternatives to a token that can be reported, as with other servers."""

MOST_CHOICES = 1000
"""Most choices of one likelihood request."""

_SPEAKERS: dict[str, Speaker] = {"system": "system", "user": "user", "assistant": "assistant"}
_COMMON = frozenset({
    "model", "user", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed",
    "n", "stream", "logprobs", "top_logprobs", "frequency_penalty", "presence_penalty",
})  # fmt: skip
_CHAT = _COMMON | {"messages", "add_generation_prompt", "continue_final_message"}
_TEXT = (_COMMON - {"top_logprobs"}) | {"prompt", "echo", "best_of"}
_LIKELIHOOD = frozenset({"model", "user", "messages", "prompt", "choices", "labels"})
_ONLY: dict[str, object] = {
    "n": 1, "best_of": 1, "stream": False, "echo": False,
    "frequency_penalty": 0, "presence_penalty": 0,
}  # fmt: skip
"""Fields that are known, with the only value that can be served."""


class Refused(Exception):
    """The request cannot be served, however often it is sent; the text is for the caller."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a served model says of itself."""

    label: str
    context_window: int
    """Most tokens of prompt and completion together; 2³¹-1 when the model does not say."""
    capabilities: frozenset[str]
    batch_size: int
    has_chat_template: bool = False
    chat_template_sha256: str | None = None
    dtype: str | None = None
    device: str | None = None
    parameters: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    exact_usage: bool = True
    """False when token counts are missing or counted by another tokenizer than the model's."""
    server: str = "redraft"
    """The dialect that the server speaks."""

    def wire(self) -> dict[str, Json]:
        """Return the facts as JSON."""
        return {**asdict(self), "capabilities": sorted(self.capabilities)}


@dataclass(frozen=True, slots=True)
class Call:
    """One request as a model sees it: a chat or a plain prompt."""

    sampling: Sampling
    messages: tuple[Message, ...] = ()
    """The chat; empty for a plain prompt."""
    prompt: str | None = None
    """The plain prompt; None for a chat."""

    @property
    def continues(self) -> bool:
        """True when the last message is an assistant's text to be continued."""
        return bool(self.messages) and self.messages[-1].role == "assistant"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered."""

    text: str
    finish_reason: FinishReason
    prompt_tokens: int | None
    """None when the model cannot count."""
    completion_tokens: int | None
    """Tokens really generated, the one that ended the text included."""
    logprobs: tuple[TokenLogprob, ...] = ()
    """One entry per generated token, where the sampling asks for them: the natural logarithm of
    its probability before temperature, nucleus and penalties."""


@dataclass(frozen=True, slots=True)
class LikelihoodCall:
    """The question how likely each of several texts is after a chat or a plain prompt."""

    choices: tuple[str, ...]
    labels: bool = False
    """Every choice must be one token; its probability as the next one is asked."""
    messages: tuple[Message, ...] = ()
    """The chat; empty for a plain prompt."""
    prompt: str | None = None
    """The plain prompt; None for a chat."""

    @property
    def continues(self) -> bool:
        """True when the last message is an assistant's text that the choices follow."""
        return bool(self.messages) and self.messages[-1].role == "assistant"


@dataclass(frozen=True, slots=True)
class Weighed:
    """What a model answered to a likelihood call."""

    choices: tuple[ChoiceLikelihood, ...]
    prompt_tokens: int | None
    """Tokens scored: prompt and choice for every choice, the prompt once for labels. None when the
    model cannot count."""


class Answerer(Protocol):
    """Anything that answers calls; cancelling a call frees what it holds."""

    @property
    def facts(self) -> Facts:
        """What the model says of itself."""
        ...

    async def answer(self, call: Call) -> Reply:
        """Answer one call, or raise Refused."""
        ...

    async def weigh(self, call: LikelihoodCall) -> Weighed:
        """Tell how likely the choices are, or raise Refused."""
        ...


def read_chat(body: object) -> Call:
    """Read the body of a chat completion."""
    fields = _fields(body, _CHAT)
    logprobs = _chat_logprobs(fields)
    call = Call(_sampling(fields, logprobs), messages=_messages(fields.get("messages")))
    for name, expected in (
        ("add_generation_prompt", not call.continues),
        ("continue_final_message", call.continues),
    ):
        if fields.get(name, expected) is not expected:
            raise Refused(
                f"{name} must be {str(expected).lower()}: a last assistant message is continued"
            )
    return call


def read_completion(body: object) -> Call:
    """Read the body of a plain completion."""
    fields = _fields(body, _TEXT)
    prompt = fields.get("prompt")
    if not isinstance(prompt, str):
        raise Refused("prompt must be one string")
    logprobs = fields.get("logprobs", False)
    return Call(
        _sampling(fields, None if logprobs is False else _top(logprobs, "logprobs")),
        prompt=printable(prompt),
    )


def read_likelihood(body: object) -> LikelihoodCall:
    """Read the body of a likelihood request."""
    fields = _fields(body, _LIKELIHOOD)
    if ("messages" in fields) == ("prompt" in fields):
        raise Refused("give either messages or a prompt")
    choices, labels = _choices(fields.get("choices")), fields.get("labels", False)
    if not isinstance(labels, bool):
        raise Refused("labels must be true or false")
    if "messages" in fields:
        return LikelihoodCall(choices, labels, messages=_messages(fields["messages"]))
    if not isinstance(fields["prompt"], str):
        raise Refused("prompt must be one string")
    return LikelihoodCall(choices, labels, prompt=printable(fields["prompt"]))


def require(call: Call | LikelihoodCall, capabilities: frozenset[str]) -> None:
    """Refuse a call for more than the model can do."""
    if isinstance(call, LikelihoodCall):
        needed = ["label_likelihood" if call.labels else "echo"]
    else:
        asked = call.sampling.logprobs
        needed = [] if asked is None else ["token_logprobs", *(["top_logprobs"] if asked else [])]
    for name in needed:
        if name not in capabilities:
            raise Refused(f"the model has no {name}: it cannot tell {CAPABILITIES[name]}")


def check_fit(prompt_tokens: int, longest: int, window: int) -> None:
    """Refuse choices that do not fit behind their prompt, which would be cut on the left.

    Args:
        longest: Tokens of the longest choice.
        window: Most tokens of prompt and choice together.
    """
    if prompt_tokens + longest > window:
        raise Refused(
            f"the prompt has {prompt_tokens} tokens and the longest choice {longest}: together "
            f"{prompt_tokens + longest}, more than the {window} that fit into the context window"
        )


def check_length(prompt_tokens: int, sampling: Sampling, window: int) -> None:
    """Refuse what does not fit, because cutting a prompt silently would change the question."""
    wanted = prompt_tokens + sampling.max_tokens
    if wanted > window:
        raise Refused(
            f"the prompt has {prompt_tokens} tokens and max_tokens is {sampling.max_tokens}: "
            f"together {wanted}, more than the context window of {window}"
        )
    if not prompt_tokens:
        raise Refused("the prompt is empty")


def printable(text: str) -> str:
    """Replace lone surrogates, which no tokenizer takes."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _fields(body: object, known: frozenset[str]) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise Refused("the body must be a JSON object")
    fields = {key: value for key, value in body.items() if value is not None}
    for key, value in fields.items():
        if key not in known:
            raise Refused(f"the field {key!r} is not supported")
        if key in _ONLY and value != _ONLY[key]:
            raise Refused(f"{key}={value!r} is not supported, only {_ONLY[key]!r}")
    return fields


def _messages(raw: object) -> tuple[Message, ...]:
    if not isinstance(raw, list) or not raw:
        raise Refused("messages must be a list with at least one message")
    return tuple(_message(item) for item in raw)


def _choices(raw: object) -> tuple[str, ...]:
    if not isinstance(raw, list) or not all(isinstance(item, str) and item for item in raw):
        raise Refused("choices must be a list of texts, none of them empty")
    if not 1 <= len(raw) <= MOST_CHOICES:
        raise Refused(f"there must be from 1 to {MOST_CHOICES} choices, not {len(raw)}")
    return tuple(printable(item) for item in raw)


def _chat_logprobs(fields: dict[str, Any]) -> int | None:
    """Return how many alternatives a chat asks for, or None where it asks for nothing."""
    asked, top = fields.get("logprobs", False), fields.get("top_logprobs", 0)
    if not isinstance(asked, bool):
        raise Refused("logprobs must be true or false")
    top = _top(top, "top_logprobs")
    if top and not asked:
        raise Refused("top_logprobs needs logprobs=true")
    return top if asked else None


def _top(value: object, name: str) -> int:
    if not _is_int(value) or not 0 <= value <= MOST_TOP:
        raise Refused(f"{name} must be a whole number from 0 to {MOST_TOP}")
    return value


def _message(item: object) -> Message:
    if not isinstance(item, dict):
        raise Refused("a message must be an object with role and content")
    role = _SPEAKERS.get(str(item.get("role")))
    if role is None:
        raise Refused(
            f"the role {item.get('role')!r} is not supported, only system, user and assistant"
        )
    if extra := set(item) - {"role", "content", "name"}:
        raise Refused(f"the message field {min(extra)!r} is not supported")
    return Message(role, printable(_content(item.get("content"))))


def _content(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(
        isinstance(p, dict) and p.get("type") == "text" for p in content
    ):
        return "".join(str(part.get("text", "")) for part in content)
    raise Refused("message content must be text")


def _sampling(fields: dict[str, Any], logprobs: int | None) -> Sampling:
    max_tokens = fields.get(
        "max_completion_tokens", fields.get("max_tokens", Sampling().max_tokens)
    )
    if not _is_int(max_tokens) or max_tokens < 1:
        raise Refused("max_tokens must be a whole number of at least 1")
    seed = fields.get("seed")
    if seed is not None and not _is_int(seed):
        raise Refused("seed must be a whole number")
    return Sampling(
        max_tokens=max_tokens,
        temperature=_number(fields, "temperature", default=0.0, high=100.0),
        top_p=_number(fields, "top_p", default=1.0, high=1.0),
        stop=_stop(fields.get("stop", [])),
        seed=seed,
        logprobs=logprobs,
    )


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(fields: dict[str, Any], name: str, *, default: float, high: float) -> float:
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Refused(f"{name} must be a number")
    if not 0 <= value <= high or (name == "top_p" and value == 0):
        raise Refused(f"{name}={value} is out of range")
    return float(value)


def _stop(value: object) -> tuple[str, ...]:
    listed: Sequence[object] = (
        [value] if isinstance(value, str) else value if isinstance(value, list) else [None]
    )
    if not all(isinstance(item, str) for item in listed):
        raise Refused("stop must be a string or a list of strings")
    return tuple(printable(item) for item in listed if isinstance(item, str) and item)
