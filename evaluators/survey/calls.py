"""What a model has answered, kept in a file: a survey that was killed asks nothing twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar, cast

from evaluators.engine.sharing import call_key
from evaluators.formats.results import plain, restore
from evaluators.model import Answered, ChatRequest, Completion, LikelihoodRequest, Likelihoods
from evaluators.ports import Model

T = TypeVar("T", Completion, Likelihoods)

_KINDS: dict[str, type[Completion | Likelihoods]] = {
    "completion": Completion,
    "likelihoods": Likelihoods,
}


class CallFile:
    """Answers by the identity of their calls, a line each, written as they come.

    Args:
        path: Made if it is not there. A last line that was cut off is dropped.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Answered] = {}
        whole = 0
        if path.exists():
            data = path.read_bytes()
            whole = data.rfind(b"\n") + 1
            for line in data[:whole].splitlines():
                self._take(json.loads(line))
        self._file = path.open("r+b" if path.exists() else "w+b")
        self._file.truncate(whole)
        self._file.seek(whole)

    def __len__(self) -> int:
        """Return how many answers are kept."""
        return len(self._known)

    def get(self, key: str) -> Answered | None:
        """Return what was answered, or None."""
        return self._known.get(key)

    def put(self, key: str, answered: Answered) -> None:
        """Keep an answer: a kill loses none that was given before."""
        kind = "completion" if isinstance(answered, Completion) else "likelihoods"
        self._known[key] = answered
        line = json.dumps({"key": key, "kind": kind, "answered": plain(answered)})
        self._file.write(line.encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _take(self, told: dict[str, object]) -> None:
        text = json.dumps(told["answered"])
        self._known[str(told["key"])] = restore(_KINDS[str(told["kind"])], text)


class RememberedModel:
    """A model whose answers are in a file; those it has already given count as given now.

    So a survey that was interrupted comes to the same figures as one that was not: what its first
    sitting computed is computed by the survey, by the method that asks first.
    """

    def __init__(self, model: Model, calls: CallFile) -> None:
        self._model = model
        self._calls = calls

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
        """Answer from the file, else from the model.

        Raises:
            CallRefused: The runtime will never serve this request.
            RuntimeUnavailable: The runtime is gone.
        """
        key = call_key(self.fingerprint, request)
        return self._kept(key) or self._keep(key, await self._model.complete(request))

    async def likelihood(self, request: LikelihoodRequest) -> Likelihoods:
        """Tell likelihoods from the file, else from the model.

        Raises:
            CallRefused: The runtime cannot tell.
            RuntimeUnavailable: The runtime is gone.
        """
        key = call_key(self.fingerprint, request)
        return self._kept(key) or self._keep(key, await self._model.likelihood(request))

    def _kept(self, key: str) -> T | None:
        return cast("T | None", self._calls.get(key))

    def _keep(self, key: str, answered: T) -> T:
        self._calls.put(key, answered)
        return answered
