"""The arguments of an endpoint, checked before anything is called."""

from __future__ import annotations

import difflib
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from evaluators.errors import BadModel
from evaluators.runtimes.endpoint.guard import EgressPolicy
from evaluators.runtimes.spec import ModelSpec

_PASTED = ("/chat/completions", "/completions", "/models")
_Seconds = Annotated[float, Field(gt=0, le=86_400)]
_OMITTED = frozenset({"temperature", "seed", "top_p", "stop", "logprobs"})


class EndpointOptions(BaseModel):
    """What `--model-args` may say."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    base_url: str
    """What calls begin with, such as `https://host/v1`."""
    model: Annotated[str, Field(min_length=1, max_length=300)]
    """The model's name as the endpoint knows it."""
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")] = "OPENAI_API_KEY"
    """Environment variable that holds the key; only the command line looks there."""
    api: Literal["chat", "completions"] = "chat"
    """Which route to use: conversations, or plain text for models without a chat template."""
    num_concurrent: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Most calls in flight; the batch size by default."""
    max_retries: Annotated[int, Field(ge=0, le=5)] = 5
    """Further attempts per call."""
    timeout: _Seconds = 300.0
    """Seconds from sending a request to the last byte of its answer."""
    idle_timeout: _Seconds = 60.0
    """Seconds of silence within an answer that has begun."""
    deadline: _Seconds = 540.0
    """Seconds per call with all attempts: below a sample's, so that a dead endpoint is not taken
    for a slow method."""
    backoff: Annotated[float, Field(ge=0, le=60)] = 1.0
    """Seconds of the longest first pause before another attempt; it doubles every time."""
    omit: frozenset[str] = frozenset()
    """Parameters never to send, joined by `+`: the endpoint's own defaults hold for them."""
    context_window: Annotated[int, Field(ge=1)] | None = None
    """Most tokens of prompt and completion, where the endpoint does not say."""

    @field_validator("model", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        return str(value) if isinstance(value, int | float) else value

    @field_validator("base_url")
    @classmethod
    def _beginning(cls, value: str) -> str:
        for end in _PASTED:
            value = value.rstrip("/").removesuffix(end)
        if refusal := EgressPolicy.trusting().refusal(value):
            raise ValueError(refusal)
        return value

    @field_validator("omit", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        names = value.split("+") if isinstance(value, str) else value
        if isinstance(names, list) and (unknown := set(names) - _OMITTED):
            raise ValueError(f"{min(map(str, unknown))} is none of {', '.join(sorted(_OMITTED))}")
        return names


def read_options(spec: ModelSpec) -> EndpointOptions:
    """Check the arguments of a model specification.

    Raises:
        BadModel: One of them is missing, unknown or out of range; one line says which.
    """
    try:
        return EndpointOptions.model_validate(dict(spec.args))
    except ValidationError as error:
        raise BadModel(model=spec.label, reason=_in_words(error)) from None


def _in_words(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    name = str(first["loc"][0])
    if first["type"] == "missing":
        return f"an endpoint needs {name}=…"
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, EndpointOptions.model_fields, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"an endpoint has no argument {name!r}{hint}"
    return f"{name}: {first['msg'].removeprefix('Value error, ')}"
