"""A runtime without a model: deterministic answers taken from the prompt, for tests."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from evaluators.errors import BadModel
from evaluators.model import CAPABILITIES, ChoiceLikelihood, TokenLogprob
from evaluators.runtimes.kinds import Preflight, RuntimeKind
from evaluators.runtimes.server.main import run_server
from evaluators.runtimes.server.protocol import (
    Call,
    Facts,
    LikelihoodCall,
    Refused,
    Reply,
    Weighed,
    check_fit,
    check_length,
    require,
)
from evaluators.runtimes.spec import ModelSpec

OFFERS = frozenset({"chat", "prefix", "token_logprobs", "top_logprobs", "label_likelihood", "echo"})
"""What the echo can do, unless it is told to lack some of it."""

_SCRIPT = re.compile(r"<<(.+?)>>", re.DOTALL)
_SURE = 0.8
"""Probability of the words that the echo would say."""


@dataclass(frozen=True, slots=True)
class EchoOptions:
    """How the echo behaves; the fields are the arguments of its model specification."""

    delay: float = 0.0
    """Seconds per call."""
    jitter: float = 0.0
    """Most further seconds per call; how many of them follows from the request."""
    fail_after: int = 0
    """Die in the call after this many; 0 never dies."""
    sample: bool = False
    """Draw the alternative from seed and chat when the temperature is above 0."""
    context_window: int = 8192
    """In words, which are this model's tokens."""
    capabilities: str = "+".join(sorted(OFFERS))
    """What it can do, joined by `+`."""


_Any = Call | LikelihoodCall


class Echo:
    """Answers with the alternative that the chat asks for, else with the last user message.

    A user message may hold `<<a|b|c>>`: the answer is a in the first turn, b once the assistant
    has spoken, c from then on. What it would answer is also the likeliest of several choices; how
    likely the others are follows from chat and choice.
    """

    def __init__(self, options: EchoOptions, *, label: str, batch_size: int) -> None:
        self.options = options
        self.calls = 0
        self.facts = Facts(
            label=label,
            context_window=options.context_window,
            capabilities=frozenset(options.capabilities.split("+")),
            batch_size=batch_size,
            has_chat_template=True,
            dtype="text",
            device="cpu",
            versions={"echo": "1"},
        )
        self._rows = asyncio.Semaphore(batch_size)

    async def answer(self, call: Call) -> Reply:
        """Answer after the delay; the number of calls at a time is bounded as for a real model."""
        require(call, self.facts.capabilities)
        prompt_tokens = _words(call)
        check_length(prompt_tokens, call.sampling, self.options.context_window)
        await self._work(call)
        return _cut(self._text(call), call, prompt_tokens)

    async def weigh(self, call: LikelihoodCall) -> Weighed:
        """Weigh the choices after the delay."""
        require(call, self.facts.capabilities)
        prompt_tokens = _words(call)
        lengths = [len(choice.split()) for choice in call.choices]
        for choice, length in zip(call.choices, lengths, strict=True):
            if call.labels and length != 1:
                raise Refused(f"the label {choice!r} is {length} tokens, not one")
        check_fit(prompt_tokens, max(lengths), self.options.context_window)
        await self._work(call)
        likely = self._text(call).split()
        choices = tuple(_weighed(call, choice, likely) for choice in call.choices)
        scored = prompt_tokens if call.labels else sum(lengths) + prompt_tokens * len(lengths)
        return Weighed(choices, scored)

    async def _work(self, call: _Any) -> None:
        async with self._rows:
            self.calls += 1
            if 0 < self.options.fail_after < self.calls:
                os._exit(9)
            await asyncio.sleep(self._seconds(call))

    def _seconds(self, call: _Any) -> float:
        return self.options.delay + self.options.jitter * (_digest(call, "jitter") % 1000) / 1000

    def _text(self, call: _Any) -> str:
        users = [message.content for message in call.messages if message.role == "user"]
        users = users or [call.prompt or ""]
        script = next((found for text in reversed(users) if (found := _SCRIPT.search(text))), None)
        if script is None:
            return users[-1]
        choices = script[1].split("|")
        sampling = call.sampling if isinstance(call, Call) else None
        if self.options.sample and sampling and sampling.temperature > 0:
            return choices[_digest(call, str(sampling.seed)) % len(choices)]
        # A prefix to be continued is no turn that the assistant has finished.
        spoken = sum(message.role == "assistant" for message in call.messages) - call.continues
        return choices[min(spoken, len(choices) - 1)]


def _digest(call: _Any, salt: str) -> int:
    wire = [message.wire() for message in call.messages]
    text = json.dumps([salt, wire, call.prompt])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def _words(call: _Any) -> int:
    asked = [*(message.content for message in call.messages), call.prompt or ""]
    return sum(len(text.split()) for text in asked)


def _weighed(call: LikelihoodCall, choice: str, likely: list[str]) -> ChoiceLikelihood:
    """Weigh a choice word by word: sure of what the echo would say, less so of all else."""
    words = choice.split()
    expected = [index < len(likely) and likely[index] == w for index, w in enumerate(words)]
    logprob = sum(
        math.log(_SURE) if said else _doubt(call, word)
        for said, word in zip(expected, words, strict=True)
    )
    return ChoiceLikelihood(choice, logprob, len(words), all(expected))


def _doubt(call: _Any, word: str) -> float:
    """Return the log-probability of a word that the echo would not say: from 0.05 to 0.15."""
    return math.log(0.05 + 0.1 * (_digest(call, word) % 1000) / 1000)


def _cut(text: str, call: Call, prompt_tokens: int) -> Reply:
    for stop in call.sampling.stop:
        text = text.split(stop, 1)[0]
    words = list(re.finditer(r"\S+", text))
    limit = call.sampling.max_tokens
    cut = len(words) > limit
    said = words[:limit]
    logprobs = tuple(_logprob(call, word.group()) for word in said)
    return Reply(
        text[: said[-1].end()] if cut else text,
        "length" if cut else "stop",
        prompt_tokens,
        len(said),
        logprobs if call.sampling.logprobs is not None else (),
    )


def _logprob(call: Call, word: str) -> TokenLogprob:
    """Return a word with made-up alternatives; it is always the likeliest."""
    others = [(f"{word}{n}", math.log((1 - _SURE) / 2**n)) for n in range(1, 20)]
    top = [(word, math.log(_SURE)), *others][: call.sampling.logprobs]
    return TokenLogprob(word, math.log(_SURE), tuple(top))


def _options(spec: ModelSpec) -> EchoOptions:
    """Check the arguments of the specification against the fields of the options."""
    defaults = EchoOptions()
    values: dict[str, bool | int | float | str] = {}
    for key, value in spec.args.items():
        default = getattr(defaults, key, None) if key in EchoOptions.__slots__ else None
        if default is None:
            raise BadModel(model=spec.label, reason=f"the echo has no argument {key!r}")
        if not _fits(value, default):
            raise BadModel(model=spec.label, reason=f"the argument {key}={value!r} is not usable")
        values[key] = type(default)(value)
    options = EchoOptions(**values)  # type: ignore[arg-type]  # each value has got its field's type
    if unknown := set(options.capabilities.split("+")) - OFFERS:
        known = ", ".join(name for name in CAPABILITIES if name in OFFERS)
        reason = f"capabilities are {known}, joined by +, not {min(unknown)!r}"
        raise BadModel(model=spec.label, reason=reason)
    return options


def _fits(value: object, default: bool | float | str) -> bool:
    if isinstance(default, bool | str):
        return isinstance(value, type(default))
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _check(spec: ModelSpec) -> Preflight:
    window = _options(spec).context_window
    return Preflight(label=spec.label, has_chat_template=True, context_window=window)


def _command(spec: ModelSpec, socket: Path) -> list[str]:
    given = {"model": spec.model, "args": dict(spec.args), "batch_size": spec.batch_size}
    return [sys.executable, "-m", "evaluators.runtimes.echo", str(socket), json.dumps(given)]


def _offers(spec: ModelSpec) -> frozenset[str] | None:
    """Return what the echo can do; whether its arguments are usable is not the question here."""
    try:
        return frozenset(_options(spec).capabilities.split("+"))
    except BadModel:
        return None


runtime = RuntimeKind(
    name="echo",
    summary="Repeats or follows scripted answers; no model at all.",
    command=_command,
    check=_check,
    offers=_offers,
)
"""What the entry point `echo` offers."""


def main() -> None:
    """Serve one echo on the socket given on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("socket", type=Path)
    parser.add_argument("spec")
    arguments = parser.parse_args()
    given = json.loads(arguments.spec)
    spec = ModelSpec("echo", given["model"], given["args"], given["batch_size"])
    run_server(
        lambda: Echo(_options(spec), label=spec.label, batch_size=spec.batch_size), arguments.socket
    )


if __name__ == "__main__":
    main()
