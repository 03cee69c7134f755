"""Finds out at the start what an endpoint really does, because what it says proves nothing."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from evaluators.errors import BadModel, CallRefused, RuntimeUnavailable
from evaluators.model import Message, assistant, user
from evaluators.runtimes import wire
from evaluators.runtimes.client import Answer, Read, T
from evaluators.runtimes.dialects.openai import Abilities, PrefixStyle, continuation_fields
from evaluators.runtimes.endpoint.options import EndpointOptions
from evaluators.runtimes.endpoint.transport import EndpointTransport, Forbidden

UNKNOWN_WINDOW = 2**31 - 1
"""Context window of an endpoint that does not say."""

_CANARY = "Say after me: ok"
_CANARY_TOKENS = 16
"""Some models think before they speak, and some servers refuse fewer tokens."""
_ALTERNATIVES = (20, 8, 5, 1, 0)
_LABELS_NEED = 5
_NOT_FOUND = 404
_REFUSED = "refused:"
_OMITTED = "omit=logprobs leaves them out"
_WINDOWS = ("max_model_len", "context_length", "context_window", "max_context_length")
_QUESTIONS = (
    "Say after me: amber birch cobalt dune ember fern",
    "Say after me: one violin, two harbors, three candles",
)
_PROOF = 3
"""Words that either half of a proof has at least."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What the probe came to."""

    abilities: Abilities
    capabilities: frozenset[str]
    notes: Mapping[str, str] = field(default_factory=dict)
    """Why capabilities are lacking: refused, unproven, or the endpoint out of order."""
    context_window: int = UNKNOWN_WINDOW
    counts_tokens: bool = True
    system_fingerprint: str = ""
    """What the endpoint calls its configuration, if anything."""


class Probe:
    """Asks an endpoint small questions.

    Args:
        transport: The way to it.
        options: Which model, and what the user says of it.
    """

    def __init__(self, transport: EndpointTransport, options: EndpointOptions) -> None:
        self._transport = transport
        self._options = options

    async def run(self) -> Findings:
        """Find out all there is to know.

        Raises:
            BadModel: The key or the model is not accepted, or it cannot be used here.
            RuntimeUnavailable: It does not answer well, or no tokens come out of it.
        """
        abilities, answer = await self._first_token()
        abilities = await self._parameters(abilities)
        notes: dict[str, str] = {}
        abilities = replace(
            abilities,
            logprobs=await self._logprobs(abilities, notes),
            several=await self._several(abilities, notes),
            prefix=await self._prefix(abilities, notes),
            echo=await self._echo(abilities, notes),
        )
        _, window = await self._listing()
        return Findings(
            abilities,
            capabilities=_capabilities(abilities, notes),
            notes=notes,
            context_window=self._options.context_window or window,
            counts_tokens=wire.read_usage(answer) is not None,
            system_fingerprint=str(answer.get("system_fingerprint") or ""),
        )

    async def canary(self, abilities: Abilities) -> Answer:
        """Ask for a few tokens and return the answer that has them.

        Raises:
            BadModel: The key or the model is not accepted.
            CallRefused: The request as such is refused.
            RuntimeUnavailable: Nothing comes out.
        """
        try:
            return await self._ask(abilities, {}, read=_flowing)
        except Forbidden as error:
            raise self._bad(str(error.data["reason"]), status=error.data["status"]) from error

    async def _first_token(self) -> tuple[Abilities, Answer]:
        """Get tokens to flow, whatever the endpoint calls the token limit."""
        chat, omitted = self._options.api == "chat", self._options.omit
        tries = [Abilities(chat=chat, omitted=omitted)]
        if chat:
            tries.append(replace(tries[0], limit="max_completion_tokens"))
        refusals: list[CallRefused] = []
        for abilities in tries:
            try:
                return abilities, await self._ask(abilities, {}, read=_flowing)
            except CallRefused as error:
                refusals.append(error)
                if isinstance(error, Forbidden):
                    break
        hint = await self._hint() if refusals[-1].data["status"] == _NOT_FOUND else ""
        raise self._bad(f"{refusals[0].data['reason']}{hint}", status=refusals[0].data["status"])

    async def _hint(self) -> str:
        """Say what the endpoint does serve, where it does not know the route or the model."""
        other = Abilities(chat=self._options.api != "chat")
        try:
            await self._ask(other, {}, read=_flowing)
        except (CallRefused, RuntimeUnavailable):
            return await self._near()
        return f" (give api={'chat' if other.chat else 'completions'}, which it serves)"

    async def _parameters(self, abilities: Abilities) -> Abilities:
        """Find the parameters that are refused.

        Raises:
            BadModel: The temperature is among them.
        """
        values = {"temperature": 0.0, "seed": 1, "stop": ["\n\n\n"]}
        asked = {name: value for name, value in values.items() if name not in abilities.omitted}
        apart = [{name: value} for name, value in asked.items()]
        refused: dict[str, str] = {}
        # All at once first: most endpoints take them. `top_p` may exclude `temperature`.
        if await self._refusal(abilities, asked):
            for fields in apart:
                if words := await self._refusal(abilities, fields):
                    refused |= dict.fromkeys(fields, words)
        if "top_p" not in abilities.omitted and (
            words := await self._refusal(abilities, {"top_p": 0.9})
        ):
            refused["top_p"] = words
        if words := refused.get("temperature"):
            hint = "omit=temperature takes what it does by itself"
            raise self._bad(f"it refuses temperature=0, so it cannot be greedy ({words}); {hint}")
        return replace(abilities, refused=refused)

    async def _refusal(self, abilities: Abilities, fields: Mapping[str, Any]) -> str | None:
        try:
            await self._ask(abilities, fields, read=_flowing)
        except CallRefused as error:
            return str(error.data["reason"])
        return None

    async def _logprobs(self, abilities: Abilities, notes: dict[str, str]) -> int | None:
        if "logprobs" in abilities.omitted:
            notes["token_logprobs"] = _OMITTED
            return None

        def read(answer: Answer) -> int | None:
            found = wire.read_completion(answer, seconds=0).logprobs
            return len(found[0].top) if found else None

        async def attempt(alternatives: int) -> int | None:
            fields = wire.logprob_fields(alternatives, chat=abilities.chat)
            return await self._ask(abilities, fields, read=read)

        for alternatives in _ALTERNATIVES:
            found = await _tried("token_logprobs", notes, partial(attempt, alternatives))
            if found is not None:
                notes.pop("token_logprobs", None)
                return min(found, alternatives)
            if not notes["token_logprobs"].startswith(_REFUSED):
                break
        return None

    async def _several(self, abilities: Abilities, notes: dict[str, str]) -> bool:
        def read(answer: Answer) -> bool | None:
            wire.read_completion(answer, seconds=0)
            return True if len(answer["choices"]) == 2 else None

        found = await _tried("n", notes, lambda: self._ask(abilities, {"n": 2}, read=read))
        return bool(found)

    async def _prefix(self, abilities: Abilities, notes: dict[str, str]) -> PrefixStyle | None:
        """Find how a given beginning is continued.

        A greedy answer is cut in two, and the first half given: only who goes on with the second
        half has continued it, whatever the model can do.
        """
        if not abilities.chat:
            return None
        styles: tuple[PrefixStyle, ...] = ("continue_final_message", "trailing")
        for style in styles:
            proofs = [
                await _tried(
                    "prefix", notes, partial(self._goes_on, abilities, style, user(question))
                )
                for question in _QUESTIONS
            ]
            if all(proofs):
                notes.pop("prefix", None)
                return style
        return None

    async def _goes_on(
        self, abilities: Abilities, style: PrefixStyle, question: Message
    ) -> bool | None:
        def words(answer: Answer) -> list[str]:
            return wire.read_completion(answer, seconds=0).text.split()

        greedy = {} if "temperature" in abilities.omitted else {"temperature": 0.0}
        whole = await self._ask(abilities, greedy, read=words, messages=(question,))
        half = len(whole) // 2
        begun = (question, assistant(" ".join(whole[:half])))
        fields = {**greedy, **continuation_fields(style)}
        rest = await self._ask(abilities, fields, read=words, messages=begun)
        # The last word may be cut short by the limit; a text that repeats itself proves nothing.
        same = half >= _PROOF and rest[: _PROOF - 1] == whole[half:][: _PROOF - 1]
        return True if same and whole[: _PROOF - 1] != whole[half:][: _PROOF - 1] else None

    async def _echo(self, abilities: Abilities, notes: dict[str, str]) -> Literal[0, 1] | None:
        if abilities.chat:
            notes["echo"] = "its chat template is not known here; api=completions weighs plain text"
            return None
        if "logprobs" in abilities.omitted:
            notes["echo"] = _OMITTED
            return None

        def read(answer: Answer) -> bool | None:
            try:
                wire.read_echo(answer, prompt="One two", choice=" three four")
            except RuntimeUnavailable:
                return None
            return True

        tokens: tuple[Literal[0, 1], ...] = (0, 1)
        for count in tokens:
            fields = {
                "echo": True,
                "logprobs": 1,
                "max_tokens": count,
                "prompt": "One two three four",
            }
            if await _tried("echo", notes, partial(self._ask, abilities, fields, read=read)):
                notes.pop("echo", None)
                return count
        return None

    async def _ask(
        self,
        abilities: Abilities,
        fields: Mapping[str, Any],
        *,
        read: Read[T],
        messages: tuple[Message, ...] = (user(_CANARY),),
    ) -> T:
        body = {
            "model": self._options.model,
            **wire.prompt_fields(messages, chat=abilities.chat),
            abilities.limit: _CANARY_TOKENS,
            **fields,
        }
        path = "/chat/completions" if abilities.chat else "/completions"
        return await self._transport.call(path, body, read=read)

    async def _listing(self) -> tuple[list[str], int]:
        """Return the names of the models there, and the window of ours; nothing depends on it."""
        try:
            return await self._transport.call("/models", None, method="GET", read=self._listed)
        except (CallRefused, RuntimeUnavailable):
            return [], UNKNOWN_WINDOW

    def _listed(self, answer: Answer) -> tuple[list[str], int]:
        data = answer.get("data")
        entries = (
            [entry for entry in data if isinstance(entry, dict)] if isinstance(data, list) else []
        )
        own = next((entry for entry in entries if entry.get("id") == self._options.model), {})
        windows = [own[name] for name in _WINDOWS if type(own.get(name)) is int and own[name] > 0]
        return [str(entry.get("id")) for entry in entries], min(windows, default=UNKNOWN_WINDOW)

    async def _near(self) -> str:
        """Return a hint at names like ours that the endpoint serves."""
        names, _ = await self._listing()
        if not names or self._options.model in names:
            return ""
        near = difflib.get_close_matches(self._options.model, names, n=3, cutoff=0.4) or names[:3]
        return f" (it serves {', '.join(near)})"

    def _bad(self, reason: str, **facts: object) -> BadModel:
        return BadModel(model=self._options.model, reason=reason, **facts)


def _flowing(answer: Answer) -> Answer:
    """Return the answer if tokens have come with it, whatever they say."""
    try:
        found = wire.read_completion(answer, seconds=0)
    except CallRefused:  # it thought, or a filter took it away: tokens have flowed
        return answer
    if not found.text and not found.usage.completion_tokens:
        raise RuntimeUnavailable(reason="it answers, but no tokens come out of it")
    return answer


async def _tried(
    name: str, notes: dict[str, str], attempt: Callable[[], Awaitable[T | None]]
) -> T | None:
    """Return what the attempt proves; else note why it proves nothing."""
    try:
        found = await attempt()
    except CallRefused as error:
        notes[name] = f"{_REFUSED} {error.data['reason']}"
    except RuntimeUnavailable as error:
        notes[name] = f"not available: {error.data['reason']}"
    else:
        if found is None:
            notes[name] = "the endpoint takes the request and does something else"
        return found
    return None


def _capabilities(abilities: Abilities, notes: dict[str, str]) -> frozenset[str]:
    alternatives = -1 if abilities.logprobs is None else abilities.logprobs
    if 0 <= alternatives < _LABELS_NEED:
        notes["label_likelihood"] = f"it tells {alternatives} alternatives per token at most"
    found = {
        "chat": abilities.chat,
        "prefix": abilities.prefix is not None or not abilities.chat,
        "token_logprobs": alternatives >= 0,
        "top_logprobs": alternatives >= 1,
        "label_likelihood": alternatives >= _LABELS_NEED,
        "echo": abilities.echo is not None,
        "n": abilities.several,
    }
    return frozenset(name for name, there in found.items() if there)
