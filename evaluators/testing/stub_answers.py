"""What the stub model server says: a function of the request alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

Reply = dict[str, Any]
"""The JSON of an answer."""

_SCRIPT = re.compile(r"<<(.+?)>>", re.DOTALL)
_AFTER_ME = re.compile(r"say after me:\s*(.+)", re.DOTALL | re.IGNORECASE)
_TOKEN = re.compile(r"\s*\S+")


def reply_to(body: Mapping[str, Any], *, continues: bool = True) -> Reply:
    """Answer a request of either route.

    Args:
        body: The request.
        continues: A last message of the assistant is gone on with, not answered.
    """
    chat = "messages" in body
    messages = body["messages"] if chat else [{"role": "user", "content": body["prompt"]}]
    text, others = _answer(messages, continues=continues)
    tokens = _TOKEN.findall(text)
    limit = body.get("max_tokens", body.get("max_completion_tokens", 256))
    finish = "length" if len(tokens) > limit else "stop"
    tokens = _stopped(tokens[:limit], body.get("stop") or ())
    asked = sum(len(message["content"].split()) for message in messages)
    given = _chat_choice(tokens, others, body) if chat else _text_choice(tokens, others, body)
    choices = [
        {"index": place, "finish_reason": finish, **given} for place in range(body.get("n") or 1)
    ]
    usage = {"prompt_tokens": asked, "completion_tokens": len(tokens) * len(choices)}
    return {"id": "stub", "model": body["model"], "choices": choices, "usage": usage}


def _answer(messages: Sequence[Mapping[str, str]], *, continues: bool) -> tuple[str, list[str]]:
    """Return the text and what it could have been instead."""
    prefix = messages[-1]["content"] if messages[-1]["role"] == "assistant" else ""
    users = [message["content"] for message in messages if message["role"] == "user"] or [""]
    script = next((found for text in reversed(users) if (found := _SCRIPT.search(text))), None)
    others: list[str] = []
    if script:
        others = script[1].split("|")
        spoken = sum(message["role"] == "assistant" for message in messages) - bool(prefix)
        text = others[min(spoken, len(others) - 1)]
    elif repeat := _AFTER_ME.search(users[-1]):
        text = repeat[1]
    else:
        text = users[-1]
    if prefix and continues and text.startswith(prefix):
        text = text[len(prefix) :]
    return text, others


def _stopped(tokens: list[str], stop: str | Sequence[str]) -> list[str]:
    text = "".join(tokens)
    for end in [stop] if isinstance(stop, str) else stop:
        text = text.split(end, 1)[0]
    return _TOKEN.findall(text) if text != "".join(tokens) else tokens


def _chat_choice(tokens: list[str], others: list[str], body: Mapping[str, Any]) -> dict[str, Any]:
    choice: dict[str, Any] = {"message": {"role": "assistant", "content": "".join(tokens)}}
    if body.get("logprobs"):
        choice["logprobs"] = {
            "content": [
                {
                    "token": token,
                    "logprob": _logprob(token, place),
                    "top_logprobs": [
                        {"token": name, "logprob": logprob}
                        for name, logprob in _top(token, place, others, body["top_logprobs"])
                    ]
                    if body.get("top_logprobs")
                    else [],
                }
                for place, token in enumerate(tokens)
            ]
        }
    return choice


def _text_choice(tokens: list[str], others: list[str], body: Mapping[str, Any]) -> dict[str, Any]:
    told = _TOKEN.findall(body["prompt"]) if body.get("echo") else []
    shown = [*told, *tokens]
    choice: dict[str, Any] = {"text": "".join(shown)}
    if (alternatives := body.get("logprobs")) is not None:
        starts = [len("".join(shown[:place])) for place in range(len(shown))]
        first: list[float | None] = [None] if told else []
        logprobs = [_logprob(token, place) for place, token in enumerate(shown)]
        choice["logprobs"] = {
            "tokens": shown,
            "text_offset": starts,
            "token_logprobs": [*first, *logprobs[len(first) :]],
            "top_logprobs": [*first]
            + [
                dict(_top(token, place, others, alternatives))
                for place, token in enumerate(shown)
                if place >= len(first)
            ],
        }
    return choice


def _logprob(token: str, place: int) -> float:
    return -0.01 - share(f"{place} {token}") / 10


def _top(token: str, place: int, others: list[str], count: int) -> list[tuple[str, float]]:
    """Return the likeliest tokens in a place: the one taken, the script's, made-up ones."""
    firsts = [other.split(maxsplit=1)[0] for other in others if other.strip()]
    names = [token, *firsts, *(f"other{number}" for number in range(count))]
    listed = list(dict.fromkeys(names))[:count]
    return [(name, _logprob(token, place) - 2.0 * rank) for rank, name in enumerate(listed)]


def share(text: str) -> float:
    """Return a number from 0 up to 1 that follows from the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64
