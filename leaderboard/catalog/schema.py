"""Parameters of an evaluator, read from the JSON schema that its signature gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["integer", "number", "boolean", "choice", "text", "json"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter as the form and the catalogue show it."""

    name: str
    kind: Kind
    description: str
    default: Any
    required: bool
    nullable: bool
    """May be left empty, which means None."""
    low: float | None = None
    high: float | None = None
    above: float | None = None
    """Exclusive lower bound."""
    below: float | None = None
    """Exclusive upper bound."""
    choices: tuple[Any, ...] = ()

    @property
    def range(self) -> str:
        """The values it takes, in words."""
        if self.choices:
            return ", ".join(map(str, self.choices))
        low = (
            f"≥ {self.low:g}"
            if self.low is not None
            else f"> {self.above:g}"
            if self.above is not None
            else ""
        )
        high = (
            f"≤ {self.high:g}"
            if self.high is not None
            else f"< {self.below:g}"
            if self.below is not None
            else ""
        )
        return ", ".join(part for part in (low, high) if part)


def parameters(schema: Mapping[str, Any]) -> list[Parameter]:
    """Return the parameters of a schema in the order of the signature."""
    required = set(schema.get("required", ()))
    definitions: Mapping[str, Any] = schema.get("$defs", {})
    return [
        _parameter(name, entry, definitions, required=name in required)
        for name, entry in schema.get("properties", {}).items()
    ]


def _parameter(
    name: str, entry: Mapping[str, Any], definitions: Mapping[str, Any], *, required: bool
) -> Parameter:
    kind, nullable = _resolved(entry, definitions)
    choices = tuple(kind["enum"]) if "enum" in kind else (kind["const"],) if "const" in kind else ()
    return Parameter(
        name=name,
        kind="choice" if choices else _KINDS.get(str(kind.get("type")), "json"),
        description=str(entry.get("description") or ""),
        default=entry.get("default"),
        required=required,
        nullable=nullable,
        low=kind.get("minimum"),
        high=kind.get("maximum"),
        above=kind.get("exclusiveMinimum"),
        below=kind.get("exclusiveMaximum"),
        choices=choices,
    )


_KINDS: Mapping[str, Kind] = {
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "string": "text",
}


def _resolved(
    entry: Mapping[str, Any], definitions: Mapping[str, Any]
) -> tuple[Mapping[str, Any], bool]:
    """Follow a reference and look through `X | None`; anything richer stays JSON."""
    options = entry.get("anyOf")
    nullable = False
    if options:
        rest = [option for option in options if option.get("type") != "null"]
        nullable = len(rest) < len(options)
        entry = rest[0] if len(rest) == 1 else {}
    reference = entry.get("$ref") or next(
        (e["$ref"] for e in entry.get("allOf", ()) if "$ref" in e), None
    )
    if reference:
        entry = definitions.get(str(reference).rpartition("/")[2], {})
    return entry, nullable
