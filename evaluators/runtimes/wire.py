"""Bodies and answers of OpenAI-compatible servers, as pure functions."""

from __future__ import annotations

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
    "stop": "stop", "length": "length", "content_filter": "content_filter", "eos": "stop",
}  # fmt: skip


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
        RuntimeUnavailable: It lacks what every answer has.
    """
    try:
        choice = answer["choices"][0]
        text = choice["message"]["content"] if "message" in choice else choice["text"]
        finish = _FINISH[choice["finish_reason"]]
        usage = answer["usage"]
        tokens = Usage(usage["prompt_tokens"] or 0, usage["completion_tokens"] or 0)
        logprobs = _logprobs(choice.get("logprobs"))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise RuntimeUnavailable(reason=f"the answer lacks {error}: {str(answer)[:200]}") from error
    if not isinstance(text, str):
        raise RuntimeUnavailable(reason=f"the answer's text is {text!r}")
    return Completion(text, finish, tokens, seconds=seconds, logprobs=logprobs)


def _logprobs(listed: Mapping[str, Any] | None) -> tuple[TokenLogprob, ...]:
    if not listed:
        return ()
    if "content" in listed:
        return tuple(
            TokenLogprob(
                entry["token"],
                float(entry["logprob"]),
                tuple((top["token"], float(top["logprob"])) for top in entry["top_logprobs"]),
            )
            for entry in listed["content"] or ()
        )
    tops = listed.get("top_logprobs") or [None] * len(listed["tokens"])
    return tuple(
        TokenLogprob(token, float(logprob), tuple((top or {}).items()))
        for token, logprob, top in zip(
            listed["tokens"], listed["token_logprobs"], tops, strict=True
        )
    )


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
