"""A method's card: all that a person asks of a method before running it, in one JSON value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from evaluators.cards.drawing import lines, mermaid, svg
from evaluators.cards.files import CardFile, read_card
from evaluators.cards.prompts import prompts_of
from evaluators.cards.turns import Turn, play_example
from evaluators.errors import BadFile, BadParameter
from evaluators.evaluator import Evaluator
from evaluators.metrics import Metric
from evaluators.strategies import Prompt

ARXIV = "https://arxiv.org/abs/"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a method."""

    name: str
    text: str
    """What it does, from the docstring."""
    type: str
    """`integer`, `number`, `boolean`, `string`, or its options."""
    default: Any
    minimum: float | None
    maximum: float | None


@dataclass(frozen=True, slots=True)
class MetricLine:
    """One metric that a method asks for."""

    name: str
    title: str
    definition: str
    group: str
    """`decomposition`, `cost` and `quality` are reported by every run."""


@dataclass(frozen=True, slots=True)
class PromptText:
    """One prompt file of a method."""

    package: str
    name: str
    digest: str
    """As results name it: first 12 hex digits of the sha256."""
    placeholders: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class MethodCard:
    """What is known of a method beside what its evaluator declares; empty where nothing is."""

    title: str = ""
    """Of the paper that it follows; empty for methods of our own and where there is no card."""
    url: str = ""
    """The paper's page."""
    calls: str = ""
    """How many calls a sample takes, as a formula in the parameters."""
    decoding: str = ""
    stops: str = ""
    """When the method stops."""
    deviations: tuple[str, ...] = ()
    """Where it does otherwise than the paper."""
    published: tuple[Mapping[str, Any], ...] = ()
    """Each with `setting`, `figures` (per cent by metric), `source` and `unverified`."""
    parameters: tuple[Parameter, ...] = ()
    metrics: tuple[MetricLine, ...] = ()
    prompts: tuple[PromptText, ...] = ()
    turns: tuple[Turn, ...] = ()
    """The scripted example, step by step."""
    outline: tuple[str, ...] = ()
    """The same in words, a line per turn."""
    diagram: str = ""
    """The same as an SVG element: no script, no style, colours of the page."""
    mermaid: str = ""
    """The same for Markdown."""
    problem: str = ""
    """Why the card file, or its example, cannot be used."""

    def to_json(self) -> dict[str, Any]:
        """Return the card as plain JSON."""
        return asdict(self)


async def method_card(evaluator: Evaluator) -> MethodCard:
    """Join what an evaluator declares with its card file and the turns of its example.

    Never raises for a bad card file: `problem` says what is wrong with it.
    """
    declared = MethodCard(
        url=ARXIV + evaluator.source if evaluator.source else "",
        parameters=_parameters(evaluator),
        metrics=tuple(_metric(m) for m in evaluator.metrics),
        prompts=tuple(_prompt(prompt) for prompt in prompts_of(evaluator)),
    )
    try:
        told = read_card(evaluator)
        turns = await play_example(evaluator, told) if told else ()
    except BadFile as error:
        return replace(declared, problem=str(error))
    except (BadParameter, ValueError) as error:
        reason = (str(error).strip().splitlines() or ["it did not finish"])[-1]
        return replace(declared, problem=f"the example of its card cannot be played: {reason}")
    return _joined(evaluator, declared, told, turns) if told else declared


def _joined(
    evaluator: Evaluator, declared: MethodCard, told: CardFile, turns: tuple[Turn, ...]
) -> MethodCard:
    return replace(
        declared,
        title=told.title,
        calls=told.calls,
        decoding=told.decoding,
        stops=told.stops,
        deviations=told.deviations,
        published=tuple(one.model_dump() for one in told.published),
        turns=turns,
        outline=tuple(lines(turns)),
        diagram=svg(turns, title=f"Turns of {evaluator.name} on a scripted example"),
        mermaid=mermaid(turns),
    )


def _parameters(evaluator: Evaluator) -> tuple[Parameter, ...]:
    schema = evaluator.schema()
    named = schema.get("$defs", {})
    return tuple(
        _parameter(name, _resolved(found, named))
        for name, found in schema.get("properties", {}).items()
    )


def _parameter(name: str, schema: Mapping[str, Any]) -> Parameter:
    parts = [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
    options = [json.dumps(option) for part in parts for option in part.get("enum", ())]
    bounds = {key: value for part in parts for key, value in part.items()}
    return Parameter(
        name=name,
        text=" ".join(str(schema.get("description", "")).split()),
        type=" | ".join(options) or " | ".join(str(part.get("type", "any")) for part in parts),
        default=schema.get("default"),
        minimum=bounds.get("minimum", bounds.get("exclusiveMinimum")),
        maximum=bounds.get("maximum", bounds.get("exclusiveMaximum")),
    )


def _resolved(schema: Mapping[str, Any], named: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference to a type that has a name of its own."""
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    return {**named[name], **schema} if name in named else schema


def _metric(metric: Metric) -> MetricLine:
    return MetricLine(metric.name, metric.title, metric.definition, metric.group)


def _prompt(prompt: Prompt) -> PromptText:
    names = tuple(sorted(prompt.placeholders))
    return PromptText(prompt.package, prompt.name, prompt.digest, names, prompt.text)
