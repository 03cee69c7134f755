"""The seams: what the engine needs of a model, a task, a store and a sink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from evaluators.model import (
    Answered,
    ChatRequest,
    ChoiceLikelihood,
    Completion,
    Grade,
    Json,
    LikelihoodRequest,
    Likelihoods,
    Overlong,
    Request,
    Sample,
    SampleResult,
    Sampling,
    TaskMode,
)


class Model(Protocol):
    """A model behind a runtime."""

    @property
    def fingerprint(self) -> str:
        """Identity of weights, runtime, dtype and chat template; equal means the same model."""
        ...

    @property
    def capabilities(self) -> frozenset[str]:
        """What the runtime can do: `chat`, `prefix`, `token_logprobs`, ..."""
        ...

    @property
    def context_window(self) -> int:
        """Most tokens that prompt and completion may have together."""
        ...

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer one request.

        Raises:
            CallRefused: The runtime will never serve this request (too long for the context, say).
            RuntimeUnavailable: The runtime is dead or broken; try the sample again later.
        """
        ...

    async def likelihood(self, request: LikelihoodRequest) -> Likelihoods:
        """Tell how likely each choice is as the next text.

        Raises:
            CallRefused: The runtime cannot tell, or a label is not one token.
            RuntimeUnavailable: The runtime is dead or broken; try the sample again later.
        """
        ...


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """What a loaded task says of itself."""

    name: str
    version: str
    size: int
    """Number of samples before any limit."""
    sampling: Sampling
    """Stop strings, token limit and temperature of answer calls, as lm-eval would use them."""
    metric: str
    """Primary metric."""
    filter: str
    """Primary filter."""
    threshold: float
    """An answer is correct when its score reaches this."""
    num_fewshot: int
    summary: str
    """One line for people."""
    digest: str
    """sha256 of the task's configuration and documents: another digest is another task."""
    filters: tuple[str, ...]
    """All filters that the task grades with, the primary one among them."""
    config: Json
    """lm-eval's own dump of the configuration, for its result files."""
    mode: TaskMode = "generate_until"
    """How its questions are put and its answers scored."""
    overlong: Overlong = "unscored"
    """What becomes of a prompt that does not fit into the context window."""


class Task(Protocol):
    """A loaded task: renders its samples and grades answers to them."""

    @property
    def info(self) -> TaskInfo:
        """What the task says of itself."""
        ...

    async def samples(self, limit: int | None = None) -> Sequence[Sample]:
        """Return the first `limit` samples in the task's order, or all."""
        ...

    async def grade(
        self, sample_id: str, answers: Sequence[str | Sequence[ChoiceLikelihood]]
    ) -> Sequence[Grade]:
        """Grade each text, or the likelihoods of the choices, as an answer to the sample.

        Raises:
            GradeError: The task's own code failed on one of them.
        """
        ...

    async def extract(self, sample_id: str, text: str) -> str | None:
        """Return what the primary filter takes the answer to be; None when there is none."""
        ...


class Store(Protocol):
    """Keeps what runtimes answered by key, so that equal calls are made once."""

    async def get(self, key: str) -> Answered | None:
        """Return what is stored, or None."""
        ...

    async def put(self, key: str, request: Request, answered: Answered) -> Answered:
        """Store an answer and return the one that counts: the first that was stored."""
        ...


class Sink(Protocol):
    """Takes finished samples, one by one, as they finish."""

    async def __call__(self, result: SampleResult, /) -> None:
        """Keep one finished sample. Raising stops the run."""
        ...
