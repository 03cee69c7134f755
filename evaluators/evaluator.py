"""What an evaluator is: one async function with a name, parameters, metrics and needs."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from docstring_parser import Docstring, parse

from evaluators.context import Context
from evaluators.errors import BadParameter
from evaluators.metrics import Metric
from evaluators.model import CAPABILITIES, Information, ModelRole, Outcome, Sample, TaskMode

if TYPE_CHECKING:
    from pydantic import BaseModel

TEXT_MODES: frozenset[TaskMode] = frozenset({"generate_until", "generative"})
"""Modes of tasks whose answers are written."""

Control = Literal["greedy", "sc_calls", "sc_tokens", "best_of_n", "null_turn", "retry"]
"""What a result is held against: one greedy answer; a vote over as many samples as the method
makes calls, or as make up its tokens; the best of that many by a score; a second turn that says
nothing; and, for methods that gold gates, another try behind the same gate."""

CONTROLS: tuple[Control, ...] = ("greedy", "sc_calls", "sc_tokens", "best_of_n", "null_turn")
"""The controls of a method that says nothing else."""

RESERVED = 2
"""Leading arguments of an evaluator that are not parameters: the context and the sample."""


class EvaluatorFunction(Protocol):
    """The function that an author writes."""

    __name__: str
    __module__: str

    def __call__(self, ctx: Context, sample: Sample, /, **params: Any) -> Awaitable[Outcome]: ...


@dataclass(frozen=True, eq=False)
class Evaluator:
    """An author's function with all that the engine, the form and the board need to know of it."""

    function: Callable[..., Awaitable[Outcome]]
    """The author's own function."""
    metrics: tuple[Metric, ...]
    """What to report, beside the decomposition that every run gets."""
    information: Information = "intrinsic"
    """What the method may learn beyond the model itself."""
    requires: frozenset[str] = frozenset({"chat"})
    """Capabilities without which the method cannot run, of `evaluators.model.CAPABILITIES`."""
    modes: frozenset[TaskMode] = TEXT_MODES
    """Modes of tasks that it can work on."""
    roles: frozenset[ModelRole] = frozenset()
    """Roles beside the actor's that another model may play."""
    source: str = ""
    """arXiv id of the paper it follows, such as `2303.17651`; empty for what has no paper."""
    controls: tuple[Control, ...] = CONTROLS
    """What its results are held against at equal compute; none for what is itself a control."""

    @property
    def name(self) -> str:
        """The function's name, which is also its entry point's."""
        return self.function.__name__

    @cached_property
    def _docstring(self) -> Docstring:
        return parse(inspect.getdoc(self.function) or "")

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (self._docstring.short_description or "").strip()

    @property
    def description(self) -> str:
        """The rest of the docstring, without its argument list."""
        return (self._docstring.long_description or "").strip()

    @cached_property
    def params(self) -> type[BaseModel]:
        """The signature as a pydantic model: types, ranges, defaults and descriptions."""
        from pydantic import ConfigDict, Field, create_model

        hints = typing.get_type_hints(self.function, include_extras=True)
        texts = {entry.arg_name: entry.description for entry in self._docstring.params}
        fields: dict[str, Any] = {}
        for name, parameter in _own_parameters(self.function):
            default = ... if parameter.default is parameter.empty else parameter.default
            text = (texts.get(name) or "").strip()
            fields[name] = (hints[name], Field(default, description=text or None))
        config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)
        model: type[BaseModel] = create_model(self.name, __config__=config, **fields)
        return model

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the parameters, as the web form reads it."""
        return self.params.model_json_schema()

    def bind(self, params: Mapping[str, object]) -> dict[str, Any]:
        """Return all parameters, checked and with defaults filled in.

        Raises:
            BadParameter: One is unknown, missing, of the wrong type or out of range.
        """
        from pydantic import ValidationError

        try:
            bound = self.params.model_validate(dict(params))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = ".".join(map(str, first["loc"])) or "?"
            raise BadParameter(
                owner=self.name,
                name=name,
                value=params.get(name),
                reason=self._advice(first["type"], first["msg"]),
            ) from None
        return bound.model_dump(mode="json")

    def _advice(self, kind: str, message: str) -> str:
        if kind != "extra_forbidden":
            return message
        known = ", ".join(self.params.model_fields) or "none"
        return f"there is no such parameter; known parameters: {known}"

    def __call__(self, ctx: Context, sample: Sample, /, **params: Any) -> Awaitable[Outcome]:
        """Call the author's function, so that evaluators can build on evaluators."""
        return self.function(ctx, sample, **params)


def evaluator(
    *,
    metrics: Iterable[Metric],
    information: Information = "intrinsic",
    requires: Iterable[str] = ("chat",),
    modes: Iterable[TaskMode] = TEXT_MODES,
    roles: Iterable[ModelRole] = (),
    source: str = "",
    controls: Iterable[Control] = CONTROLS,
) -> Callable[[Callable[..., Awaitable[Outcome]]], Evaluator]:
    """Turn an async function `(ctx, sample, *, params) -> Outcome` into an evaluator.

    Args:
        metrics: What the method wants reported, usually `[*metrics.decomposition]`.
        information: `oracle` for methods that use gold, `external_feedback` for methods that use
            tools or other models; a method that calls `ctx.oracle` is an oracle whatever it says.
        requires: Capabilities of the runtime, such as `chat` or `token_logprobs`.
        modes: Task modes that it can work on; `likelihood` for methods that answer with
            likelihoods of the sample's choices.
        roles: Roles that it calls besides the actor, such as `critic`; another model may play them.
        source: arXiv id of the paper that it follows.
        controls: What its results are held against; `()` for a method that is itself a control.

    Raises:
        TypeError: The function is not async, its parameters are not keyword-only and annotated, or
            a capability or control does not exist.
    """
    needs = frozenset(requires)
    if unknown := needs - CAPABILITIES.keys():
        known = ", ".join(CAPABILITIES)
        raise TypeError(f"there is no capability {min(unknown)!r}; there are: {known}")
    held_against = tuple(controls)
    if strange := set(held_against) - set(get_args(Control)):
        known = ", ".join(get_args(Control))
        raise TypeError(f"there is no control {min(strange)!r}; there are: {known}")

    def wrap(function: Callable[..., Awaitable[Outcome]]) -> Evaluator:
        _check_shape(function)
        return Evaluator(
            function,
            tuple(metrics),
            information,
            needs,
            frozenset(modes),
            frozenset(roles),
            source,
            held_against,
        )

    return wrap


def _check_shape(function: Callable[..., object]) -> None:
    name = getattr(function, "__name__", repr(function))
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"evaluator {name} must be an async function")
    positional = [
        p
        for p in inspect.signature(function).parameters.values()
        if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}
    ]
    if len(positional) != RESERVED:
        raise TypeError(
            f"evaluator {name} must take (ctx, sample, *, parameters): "
            f"it has {len(positional)} positional arguments"
        )
    for key, parameter in _own_parameters(function):
        if parameter.kind is not parameter.KEYWORD_ONLY:
            raise TypeError(f"evaluator {name}: parameter {key} must be keyword-only")
        if parameter.annotation is parameter.empty:
            raise TypeError(f"evaluator {name}: parameter {key} needs a type annotation")


def _own_parameters(function: Callable[..., object]) -> list[tuple[str, inspect.Parameter]]:
    return list(inspect.signature(function).parameters.items())[RESERVED:]
