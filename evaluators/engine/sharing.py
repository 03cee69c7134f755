"""Equal calls are made once: while in flight, across evaluators and runs, and after a restart."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import suppress
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from evaluators.errors import CallRefused, ContextTooLong
from evaluators.model import (
    Answered,
    ChatRequest,
    Completion,
    LikelihoodRequest,
    Likelihoods,
    Request,
    Sampling,
)

if TYPE_CHECKING:
    from evaluators.ports import Model, Store


_SAMPLING = tuple(field.name for field in fields(Sampling))


def call_key(fingerprint: str, request: Request) -> str:
    """Return the identity of a call: model, messages, sampling and seed, as sha256 hex.

    Never holds the evaluator or the run. The seed of a sampled call carries its occurrence within
    the trajectory, so two draws from one prompt are two calls.
    """
    call: dict[str, object] = {
        "model": fingerprint,
        "messages": [message.wire() for message in request.messages],
    }
    if isinstance(request, ChatRequest):
        # Not asdict: its deep copies were a quarter of what the engine spends on a sample.
        call["sampling"] = {name: getattr(request.sampling, name) for name in _SAMPLING}
    else:
        call |= {"choices": request.choices, "labels": request.labels}
    text = json.dumps(call, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class MemoryStore:
    """Keeps what runtimes answered for the life of a process."""

    def __init__(self) -> None:
        self._rows: dict[str, Answered] = {}

    async def get(self, key: str) -> Answered | None:
        """Return what is stored, or None."""
        return self._rows.get(key)

    async def put(self, key: str, request: Request, answered: Answered) -> Answered:
        """Store an answer unless there is one, and return the one that counts."""
        del request
        return self._rows.setdefault(key, answered)


class SharedModel:
    """A model to which equal calls are made once, with one bound on calls in flight.

    All runs of one runtime share one of these. A call that equals one in flight waits for it; a
    call that equals a stored one is answered from the store. The bound counts real calls only.
    Cancelling one waiter never cancels a call that others wait for; the last one does.

    Args:
        model: Who answers.
        store: Keeps what was answered.
        in_flight: Bound on real calls.
        weighed: Have every draw told with its log-probabilities where the runtime tells them, so
            that methods that choose by them and methods that do not share their draws, whichever
            asks first. Draws are longer to send and to keep by that.
    """

    def __init__(
        self,
        model: Model,
        *,
        store: Store | None = None,
        in_flight: int = 64,
        weighed: bool = True,
    ) -> None:
        self._model = model
        self._weighed = weighed and "token_logprobs" in model.capabilities
        self._store: Store = MemoryStore() if store is None else store
        self._bound = asyncio.Semaphore(in_flight)
        self._flying: dict[str, asyncio.Task[Answered]] = {}
        self._waiting: dict[str, int] = {}

    @property
    def fingerprint(self) -> str:
        """The model's own."""
        return self._model.fingerprint

    @property
    def capabilities(self) -> frozenset[str]:
        """The model's own."""
        return self._model.capabilities

    @property
    def context_window(self) -> int:
        """The model's own."""
        return self._model.context_window

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer from the store, from an equal call in flight, or from the model.

        Raises:
            CallRefused: The runtime will never serve this request.
            RuntimeUnavailable: The runtime is gone.
        """
        answered = await self._draw(request) or await self._answer(request)
        assert isinstance(answered, Completion)  # noqa: S101 - keys of the two kinds differ
        return answered

    async def likelihood(self, request: LikelihoodRequest) -> Likelihoods:
        """Tell likelihoods from the store, from an equal call in flight, or from the model.

        Raises:
            CallRefused: The runtime cannot tell.
            RuntimeUnavailable: The runtime is gone.
        """
        answered = await self._answer(request)
        assert isinstance(answered, Likelihoods)  # noqa: S101 - keys of the two kinds differ
        return answered

    async def _draw(self, request: ChatRequest) -> Completion | None:
        """Ask for a draw with its log-probabilities and return it without; None for other calls."""
        sampling = request.sampling
        if not self._weighed or not sampling.temperature or sampling.logprobs is not None:
            return None
        try:
            told = await self._answer(replace(request, sampling=replace(sampling, logprobs=0)))
        except ContextTooLong:
            raise
        except CallRefused:
            return None  # it may be answered without them
        assert isinstance(told, Completion)  # noqa: S101 - keys of the two kinds differ
        return replace(told, logprobs=())

    async def _answer(self, request: Request) -> Answered:
        key = call_key(self.fingerprint, request)
        flight = self._flying.get(key)
        shared = flight is not None
        if flight is None:
            flight = asyncio.create_task(self._look_up_or_call(key, request))
            self._flying[key] = flight
            flight.add_done_callback(lambda done: self._forget(key, done))
        answered = await self._wait(key, flight)
        return replace(answered, cached=True, seconds=0.0) if shared else answered

    async def _wait(self, key: str, flight: asyncio.Task[Answered]) -> Answered:
        self._waiting[key] = self._waiting.get(key, 0) + 1
        try:
            return await asyncio.shield(flight)
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]
                self._forget(key, flight)  # whoever asks from now on asks anew
                await _abandon(flight)

    def _forget(self, key: str, flight: asyncio.Task[Answered]) -> None:
        """Let nobody join a call that is over or given up."""
        if self._flying.get(key) is flight:
            del self._flying[key]

    async def _look_up_or_call(self, key: str, request: Request) -> Answered:
        stored = await self._store.get(key)
        if stored is not None:
            return replace(stored, cached=True, seconds=0.0)
        async with self._bound:
            made = await self._call(request)
        # The stored text counts: another process may have been first with another text.
        kept = await self._store.put(key, request, made)
        return kept if kept is made else replace(kept, cached=True, seconds=made.seconds)

    async def _call(self, request: Request) -> Answered:
        if isinstance(request, ChatRequest):
            return await self._model.complete(request)
        return await self._model.likelihood(request)


async def _abandon(flight: asyncio.Task[Answered]) -> None:
    """Cancel a call that nobody waits for any more, and see it off."""
    if not flight.done():
        flight.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait([flight])
    if flight.done() and not flight.cancelled():
        flight.exception()  # looked at, or asyncio complains that nobody did
