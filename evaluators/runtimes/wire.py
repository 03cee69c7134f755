"""Bodies and answers of OpenAI-compatible servers, as pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from evaluators.errors import CallRefused, RuntimeUnavailable
from evaluators.model import (
    ChatRequest,
    ChoiceLikelihood,
    Completion,
    FinishReason,
    LikelihoodRequest,
    Likelihoods,
    Message,
    Sampling,
    TokenLogprob,
    Usage,
)

_FINISH: dict[str, FinishReason] = {
    "stop": "stop", "eos": "stop", "eos_token": "stop", "end_turn": "stop", "stop_sequence": "stop",
    "length": "length", "max_tokens": "length", "model_length": "length",
    "content_filter": "content_filter",
}  # fmt: skip
"""Words of several servers for why a completion ended."""

_TOOLS = frozenset({"tool_calls", "function_call", "tool_use"})

MOST_TOKENS = 1 << 31
"""A usage of more tokens than any context window holds is a lie."""


def plain_prompt(messages: Sequence[Message]) -> str:
    """Return the text to send to a model without a chat template.

    That is one user message, and an assistant's prefix after it if there is one.

    Raises:
        CallRefused: The request is a conversation.
    """
    if [message.role for message in messages] not in (["user"], ["user", "assistant"]):
        raise CallRefused(status=400, reason="a model without a chat template cannot converse")
    return "".join(message.content for message in messages)


def prompt_fields(messages: Sequence[Message], *, chat: bool) -> dict[str, Any]:
    """Return the prompt as a chat or as plain text."""
    if chat:
        return {"messages": [message.wire() for message in messages]}
    return {"prompt": plain_prompt(messages)}


def sampling_fields(sampling: Sampling) -> dict[str, Any]:
    """Return how to draw, without log-probabilities: the two routes ask for them differently."""
    fields: dict[str, Any] = {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
    }
    if sampling.stop:
        fields["stop"] = list(sampling.stop)
    if sampling.seed is not None:
        fields["seed"] = sampling.seed
    return fields


def logprob_fields(count: int | None, *, chat: bool) -> dict[str, Any]:
    """Return how to ask for log-probabilities, as the route wants it."""
    if count is None:
        return {}
    return {"logprobs": True, "top_logprobs": count} if chat else {"logprobs": count}


def completion_body(request: ChatRequest, *, chat: bool) -> dict[str, Any]:
    """Return the body of a request for text."""
    return {
        **prompt_fields(request.messages, chat=chat),
        **sampling_fields(request.sampling),
        **logprob_fields(request.sampling.logprobs, chat=chat),
    }


def read_completion(answer: Mapping[str, Any], *, seconds: float) -> Completion:
    """Read the answer to a request for text, of either route.

    Raises:
        CallRefused: The model wrote something that is no text, or a filter took it away.
        RuntimeUnavailable: It lacks what every answer has.
    """
    try:
        choice = answer["choices"][0]
        finish = _finish(choice["finish_reason"])
        message = choice.get("message")
        text = choice["text"] if message is None else message["content"]
        logprobs = _logprobs(choice.get("logprobs"))
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        reason = f"the answer lacks {_told(error)}: {str(answer)[:200]}"
        raise RuntimeUnavailable(reason=reason) from error
    usage = read_usage(answer)
    if not isinstance(text, str):
        raise _textless(message or {}, text, finish=finish, usage=usage)
    return Completion(text, finish, usage or UNKNOWN, seconds=seconds, logprobs=logprobs)


UNKNOWN = Usage(0, 0)
"""What is noted where a server counts no tokens; whoever allows that says so in its facts."""


def read_usage(answer: Mapping[str, Any]) -> Usage | None:
    """Return the token counts of an answer; None when there are none that can be true."""
    usage = answer.get("usage")
    if not isinstance(usage, Mapping):
        return None
    counts = [usage.get("prompt_tokens"), usage.get("completion_tokens", 0)]
    if not all(type(count) is int and 0 <= count < MOST_TOKENS for count in counts):
        return None
    return Usage(int(counts[0] or 0), int(counts[1] or 0))


def _finish(reason: object) -> FinishReason:
    if reason in _TOOLS:
        raise CallRefused(status=200, reason="the model called a tool instead of answering")
    if not isinstance(reason, str) or reason not in _FINISH:
        raise ValueError(f"a finish reason that is known, not {reason!r}")
    return _FINISH[reason]


def _textless(
    message: Mapping[str, Any], text: object, *, finish: FinishReason, usage: Usage | None
) -> CallRefused | RuntimeUnavailable:
    """Say what it means that there is no text: never that the model answered nothing."""
    if isinstance(refusal := message.get("refusal"), str):
        return CallRefused(status=200, reason=f"the model's provider refuses: {refusal[:200]}")
    if finish == "content_filter":
        return CallRefused(status=200, reason="a content filter took the whole answer away")
    if finish == "length" and usage and usage.completion_tokens:
        reason = "its tokens were used up before the answer began; raise the limit"
        return CallRefused(status=200, reason=reason)
    return RuntimeUnavailable(reason=f"the answer's text is {text!r}")


def _told(error: Exception) -> str:
    if isinstance(error, KeyError):
        return str(error)
    return "a choice" if isinstance(error, IndexError) else f"sense ({error})"


def _logprobs(listed: Mapping[str, Any] | None) -> tuple[TokenLogprob, ...]:
    if not listed:
        return ()
    if "content" in listed:
        return tuple(
            TokenLogprob(
                entry["token"],
                _logprob(entry["logprob"]),
                tuple(
                    (top["token"], _logprob(top["logprob"]))
                    for top in entry.get("top_logprobs") or ()
                ),
            )
            for entry in listed["content"] or ()
        )
    tops = listed.get("top_logprobs") or [None] * len(listed["tokens"])
    return tuple(
        TokenLogprob(token, _logprob(logprob), _ranked(top))
        for token, logprob, top in zip(
            listed["tokens"], listed["token_logprobs"], tops, strict=True
        )
    )


def _ranked(top: Mapping[str, Any] | None) -> tuple[tuple[str, float], ...]:
    listed = [(token, _logprob(logprob)) for token, logprob in (top or {}).items()]
    return tuple(sorted(listed, key=lambda entry: -entry[1]))


def _logprob(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"a log-probability is {value!r}")
    return float(value)


def likelihood_body(request: LikelihoodRequest, *, chat: bool) -> dict[str, Any]:
    """Return the body of a request to our own server's `/v1/likelihood`."""
    return {
        **prompt_fields(request.messages, chat=chat),
        "choices": list(request.choices),
        "labels": request.labels,
    }


def read_likelihoods(answer: Mapping[str, Any], *, seconds: float) -> Likelihoods:
    """Read the answer of our own server's `/v1/likelihood`.

    Raises:
        RuntimeUnavailable: It lacks what every answer has.
    """
    try:
        choices = tuple(ChoiceLikelihood(**choice) for choice in answer["choices"])
        tokens = Usage(answer["usage"]["prompt_tokens"] or 0, 0)
    except (KeyError, TypeError) as error:
        raise RuntimeUnavailable(reason=f"the answer lacks {error}: {str(answer)[:200]}") from error
    return Likelihoods(choices, tokens, seconds=seconds)


def read_first_token(answer: Mapping[str, Any]) -> TokenLogprob:
    """Return the first generated token with its alternatives.

    Raises:
        RuntimeUnavailable: The answer does not have it.
    """
    try:
        return _logprobs(answer["choices"][0]["logprobs"])[0]
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        reason = f"the answer lacks {_told(error)}: {str(answer)[:200]}"
        raise RuntimeUnavailable(reason=reason) from error


def read_echo(answer: Mapping[str, Any], *, prompt: str, choice: str) -> ChoiceLikelihood:
    """Read the likelihood of a choice off the echo of the prompt with the choice behind it.

    A token that spans the seam counts to the choice.

    Raises:
        RuntimeUnavailable: The answer is no such echo.
    """
    try:
        listed = answer["choices"][0]["logprobs"]
        starts, tokens, found = listed["text_offset"], listed["tokens"], listed["token_logprobs"]
        end = len(prompt) + len(choice)
        ours = [
            place
            for place, start in enumerate(starts)
            if start < end and start + len(tokens[place]) > len(prompt)
        ]
        logprobs = [_logprob(found[place]) for place in ours]
        greedy = all(_ranked(listed["top_logprobs"][place])[0][1] <= found[place] for place in ours)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        reason = f"the answer is no echo with log-probabilities: {_told(error)}"
        raise RuntimeUnavailable(reason=reason) from error
    if not ours:
        raise RuntimeUnavailable(reason="the echo leaves the choice out")
    return ChoiceLikelihood(choice, math.fsum(logprobs), tokens=len(ours), greedy=greedy)
