"""A runtime without a model: deterministic answers taken from the prompt, for tests."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from evaluators.errors import BadModel
from evaluators.runtimes.kinds import Preflight, RuntimeKind
from evaluators.runtimes.server.main import run_server
from evaluators.runtimes.server.protocol import Call, Facts, Reply, check_length
from evaluators.runtimes.spec import ModelSpec

_SCRIPT = re.compile(r"<<(.+?)>>", re.DOTALL)


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


class Echo:
    """Answers with the alternative that the chat asks for, else with the last user message.

    A user message may hold `<<a|b|c>>`: the answer is a in the first turn, b once the assistant
    has spoken, c from then on.
    """

    def __init__(self, options: EchoOptions, *, label: str, batch_size: int) -> None:
        self.options = options
        self.calls = 0
        self.facts = Facts(
            label=label,
            context_window=options.context_window,
            capabilities=frozenset({"chat", "prefix"}),
            batch_size=batch_size,
            has_chat_template=True,
            dtype="text",
            device="cpu",
            versions={"echo": "1"},
        )
        self._rows = asyncio.Semaphore(batch_size)

    async def answer(self, call: Call) -> Reply:
        """Answer after the delay; the number of calls at a time is bounded as for a real model."""
        asked = [*(message.content for message in call.messages), call.prompt or ""]
        prompt_tokens = sum(len(text.split()) for text in asked)
        check_length(prompt_tokens, call.sampling, self.options.context_window)
        async with self._rows:
            self.calls += 1
            if 0 < self.options.fail_after < self.calls:
                os._exit(9)
            await asyncio.sleep(self._seconds(call))
        return _cut(self._text(call), call, prompt_tokens)

    def _seconds(self, call: Call) -> float:
        return self.options.delay + self.options.jitter * (_digest(call, "jitter") % 1000) / 1000

    def _text(self, call: Call) -> str:
        users = [message.content for message in call.messages if message.role == "user"]
        users = users or [call.prompt or ""]
        script = next((found for text in reversed(users) if (found := _SCRIPT.search(text))), None)
        if script is None:
            return users[-1]
        choices = script[1].split("|")
        if self.options.sample and call.sampling.temperature > 0:
            return choices[_digest(call, str(call.sampling.seed)) % len(choices)]
        # A prefix to be continued is no turn that the assistant has finished.
        spoken = sum(message.role == "assistant" for message in call.messages) - call.continues
        return choices[min(spoken, len(choices) - 1)]


def _digest(call: Call, salt: str) -> int:
    wire = [message.wire() for message in call.messages]
    text = json.dumps([salt, wire, call.prompt])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def _cut(text: str, call: Call, prompt_tokens: int) -> Reply:
    for stop in call.sampling.stop:
        text = text.split(stop, 1)[0]
    words = list(re.finditer(r"\S+", text))
    limit = call.sampling.max_tokens
    if len(words) > limit:
        return Reply(text[: words[limit - 1].end()], "length", prompt_tokens, limit)
    return Reply(text, "stop", prompt_tokens, len(words))


def _options(spec: ModelSpec) -> EchoOptions:
    """Check the arguments of the specification against the fields of the options."""
    defaults = EchoOptions()
    values: dict[str, bool | int | float] = {}
    for key, value in spec.args.items():
        default = getattr(defaults, key, None) if key in EchoOptions.__slots__ else None
        if default is None:
            raise BadModel(model=spec.label, reason=f"the echo has no argument {key!r}")
        good = (
            isinstance(value, bool) if isinstance(default, bool) else isinstance(value, int | float)
        )
        if not good or not isinstance(value, bool | int | float) or value < 0:
            raise BadModel(model=spec.label, reason=f"the argument {key}={value!r} is not usable")
        values[key] = type(default)(value)
    return EchoOptions(**values)  # type: ignore[arg-type]  # each value has just got its field's type


def _check(spec: ModelSpec) -> Preflight:
    window = _options(spec).context_window
    return Preflight(label=spec.label, has_chat_template=True, context_window=window)


def _command(spec: ModelSpec, socket: Path) -> list[str]:
    given = {"model": spec.model, "args": dict(spec.args), "batch_size": spec.batch_size}
    return [sys.executable, "-m", "evaluators.runtimes.echo", str(socket), json.dumps(given)]


runtime = RuntimeKind(
    name="echo",
    summary="Repeats or follows scripted answers; no model at all.",
    command=_command,
    check=_check,
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
