"""A stand-in for vLLM: its command line, process tree, routes and last words, without a model.

Start it through `REDRAFT_VLLM_COMMAND`, which `command` returns, and the whole runtime around it is
the real one. Its answers are those of the echo; its tokens are bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from aiohttp import web

from evaluators.model import Message
from evaluators.runtimes.echo import Echo, EchoOptions
from evaluators.runtimes.server.protocol import Refused, read_chat
from evaluators.testing.stub_gpu import StubGpu

_READ = ("messages", "max_tokens", "temperature", "top_p", "stop", "seed")
"""Fields of a request that the answer depends on."""

_DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the engine does besides answering."""

    gpu: str = ""
    """Folder of a StubGpu whose memory it holds; none when empty."""
    weights: int = 2
    """GiB that it holds, however few sequences there are."""
    sequences_per_gib: int = 32
    load_seconds: float = 0.0
    delay: float = 0.0
    """Seconds per answer."""
    silent: bool = False
    """Answer health checks, and nothing else, from the start."""
    silent_after: int = 0
    """The same after this many answers; 0 never."""
    silent_flag: str = ""
    """The same while this file is there."""
    die_after: int = 0
    """End after this many answers; 0 never."""
    dying_words: str = ""
    """Say this then, as vLLM says an error, and fail calls as vLLM does before it ends."""
    cache_tokens: int = 0
    """Tokens that the key-value cache has room for; 0 is any number."""
    template: bool = True
    """The model has a chat template."""
    last_words: str = ""
    """Say this, as vLLM says an error, and end with status 1 at the start."""


def command(behaviour: Behaviour | None = None) -> str:
    """Return the value of REDRAFT_VLLM_COMMAND that starts the stub."""
    options = json.dumps(asdict(behaviour or Behaviour()))
    return shlex.join([sys.executable, "-m", "evaluators.testing.stub_engine", options])


class Server:
    """The routes of vLLM that Redraft uses."""

    def __init__(self, behaviour: Behaviour, *, window: int, sequences: int) -> None:
        self._behaviour = behaviour
        self._window = window
        options = EchoOptions(delay=behaviour.delay, context_window=window)
        self._echo = Echo(options, label="stub", batch_size=sequences)
        self._answered = 0

    def app(self) -> web.Application:
        """Return the web application."""
        app = web.Application(client_max_size=2**28, middlewares=[_errors])
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/tokenizer_info", self._tokenizer)
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_post("/detokenize", self._detokenize)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._complete)
        return app

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({})

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "model", "max_model_len": self._window}]})

    async def _tokenizer(self, request: web.Request) -> web.Response:
        return web.json_response({"chat_template": "{role}: {content}"})

    async def _tokenize(self, request: web.Request) -> web.Response:
        tokens = _tokens(await request.json())
        return web.json_response({"tokens": tokens, "count": len(tokens)})

    async def _detokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        return web.json_response({"prompt": bytes(body["tokens"]).decode("utf-8", "replace")})

    async def _chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        if not self._behaviour.template:
            raise Refused("As of transformers v4.44, default chat template is no longer allowed.")
        await self._may_answer()
        prompt = len(_tokens(body))
        self._check(prompt)
        reply = await self._echo.answer(read_chat({k: body[k] for k in _READ if k in body}))
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": reply.text},
            "finish_reason": reply.finish_reason,
        }
        return web.json_response(
            {
                "choices": [choice] * int(body.get("n", 1)),
                "usage": {
                    "prompt_tokens": prompt,
                    "completion_tokens": max(1, reply.completion_tokens or 0),
                },
            }
        )

    async def _complete(self, request: web.Request) -> web.Response:
        body = await request.json()
        await self._may_answer()
        prompts = _prompts(body["prompt"])
        for prompt in prompts:
            self._check(len(prompt))
        choices = [
            {
                "index": index,
                "text": "a",
                "finish_reason": "length",
                "logprobs": {"tokens": ["a"], "token_logprobs": [-0.5]},
                "prompt_logprobs": _scores(prompt) if "prompt_logprobs" in body else None,
            }
            for index, prompt in enumerate(prompts)
        ]
        usage = {"prompt_tokens": sum(map(len, prompts)), "completion_tokens": len(prompts)}
        return web.json_response({"choices": choices, "usage": usage})

    async def _may_answer(self) -> None:
        behaviour = self._behaviour
        self._answered += 1
        if 0 < behaviour.die_after < self._answered:
            self._die()
        while self._silent():  # noqa: ASYNC110 - it may be a file that ends the silence
            await asyncio.sleep(0.05)

    def _die(self) -> NoReturn:
        words = self._behaviour.dying_words
        if not words:
            os._exit(9)
        sys.stderr.write(f"RuntimeError: {words}\nEngineDeadError: {_DEAD}\n")
        sys.stderr.flush()
        asyncio.get_running_loop().call_later(0.2, os._exit, 1)
        raise web.HTTPInternalServerError(text=_DEAD)

    def _silent(self) -> bool:
        behaviour = self._behaviour
        return (
            behaviour.silent
            or 0 < behaviour.silent_after < self._answered
            or bool(behaviour.silent_flag and Path(behaviour.silent_flag).exists())
        )

    def _check(self, tokens: int) -> None:
        if tokens > self._window:
            raise Refused(
                f"This model's maximum context length is {self._window} tokens. However, your "
                f"prompt contains {tokens} input tokens."
            )


def _prompts(prompt: object) -> list[list[int]]:
    if isinstance(prompt, str):
        return [list(prompt.encode())]
    assert isinstance(prompt, list)  # noqa: S101 - a string, tokens, or several lists of them
    return prompt if prompt and isinstance(prompt[0], list) else [prompt]


def _tokens(body: dict[str, Any]) -> list[int]:
    """Return the bytes of the prompt, a chat as the template of this server would have it."""
    if "messages" not in body:
        return list(str(body["prompt"]).encode())
    messages = [Message(m["role"], m["content"]) for m in body["messages"]]
    text = "\n".join(f"{message.role}: {message.content}" for message in messages)
    opened = "" if body.get("continue_final_message") else "\nassistant: "
    return list((text + opened).encode())


def _scores(prompt: Sequence[int]) -> list[dict[str, Any] | None]:
    """Return the log-probabilities of the tokens: an even byte is the likeliest one."""
    entries = [
        {str(token): {"logprob": -(token % 8 + 1) / 8, "rank": token % 2 + 1}} for token in prompt
    ]
    return [None, *entries[1:]]


@web.middleware
async def _errors(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        answer: web.StreamResponse = await handler(request)
    except Refused as refusal:
        error = {"message": str(refusal), "type": "BadRequestError", "code": 400}
        return web.json_response({"error": error}, status=400)
    return answer


def main() -> None:
    """Behave like `python -m vllm.entrypoints.openai.api_server`."""
    parser = argparse.ArgumentParser(prog="api_server.py")
    parser.add_argument("behaviour")
    parser.add_argument("--uds", required=True)
    parser.add_argument("--max-num-seqs", type=int, default=256)
    parser.add_argument("--max-model-len", type=int, default=4096)
    given, _ = parser.parse_known_args()
    behaviour = Behaviour(**json.loads(given.behaviour))
    if behaviour.last_words:
        _die(behaviour.last_words)
    if 0 < behaviour.cache_tokens < given.max_model_len:
        _die(_too_small(given.max_model_len, behaviour.cache_tokens))
    _start_engine(behaviour, given.max_num_seqs)
    time.sleep(behaviour.load_seconds)
    server = Server(behaviour, window=given.max_model_len, sequences=given.max_num_seqs)
    web.run_app(server.app(), path=given.uds, print=None, handle_signals=False)


def _start_engine(behaviour: Behaviour, sequences: int) -> None:
    """Start the process that holds the memory: detached, so that no group's end reaches it."""
    if not behaviour.gpu:
        return
    gpu = StubGpu(Path(behaviour.gpu))
    wanted = behaviour.weights + sequences // behaviour.sequences_per_gib
    told, tell = os.pipe()
    if os.fork() == 0:
        os.setsid()
        try:
            held = gpu.hold(wanted)
            os.write(tell, b"+")
        except MemoryError:
            held = []
            os.write(tell, b"-")
        while held:
            signal.pause()
        os._exit(0)
    if os.read(told, 1) == b"-":
        free, total = gpu.free(), gpu.total()
        _die(
            f"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {wanted}.00 GiB. GPU 0 "
            f"has a total capacity of {total}.00 GiB of which {free}.00 GiB is free."
        )


def _too_small(window: int, room: int) -> str:
    return (
        f"ValueError: To serve at least one request with the model's max seq len ({window}), "
        f"({window / 1024:.2f} GiB KV cache is needed, which is larger than the available KV cache "
        f"memory ({room / 1024:.2f} GiB). Based on the available memory, the estimated maximum "
        f"model length is {room}. Try increasing `gpu_memory_utilization` or decreasing "
        "`max_model_len` when initializing the engine."
    )


def _die(words: str) -> NoReturn:
    """End as vLLM ends: the engine core says why, the server that there was a reason."""
    sys.stderr.write(
        f"(EngineCore pid=9) ERROR 11-21 07:51:15 [core.py:1510] {words}\n{words}\n"
        "RuntimeError: Engine core initialization failed. See root cause above. "
        "Failed core proc(s): {'EngineCore': 1}\n"
    )
    sys.exit(1)


if __name__ == "__main__":
    main()
