"""What model to run and how: the one noun that names a model before it is running."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from evaluators.errors import BadModel
from evaluators.model import Json

LABEL_KEYS = ("peft", "delta", "pretrained", "model", "path", "engine")
"""Arguments that name a model, in the order in which lm-eval looks at them."""

PLACEMENT_KEYS = frozenset({"batch_size", "max_batch_size", "device", "parallelize"})
"""Arguments that say where a model runs, not which model it is."""

_TEXT_KEYS = frozenset(
    {*LABEL_KEYS, "revision", "tokenizer", "gguf_file", "subfolder", "device", "dtype"}
)
_KEY = re.compile(r"[A-Za-z_]\w*")
_WORDS: dict[str, Json] = {"true": True, "false": False, "none": None, "null": None}


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model, the runtime that serves it, and that runtime's arguments."""

    runtime: str
    """Name in the entry-point group `redraft.runtimes`."""
    model: str
    """What the runtime calls the kind of model: for `lm-eval` the LM class, such as `hf`."""
    args: Mapping[str, Json] = field(default_factory=dict)
    """The runtime's arguments, as `parse_model_args` reads them."""
    batch_size: int = 8
    """Most rows in flight; no part of the model's identity."""

    def __hash__(self) -> int:
        """Hash by the canonical form, because the arguments are a mapping."""
        return hash(self.canonical())

    def canonical(self) -> str:
        """Return one stable JSON string per model; batch size and device do not change it."""
        args = {key: value for key, value in self.args.items() if key not in PLACEMENT_KEYS}
        return stable_json({"runtime": self.runtime, "model": self.model, "args": args})

    @property
    def label(self) -> str:
        """The name for people: the first argument that names the model, else the kind."""
        named = (self.args.get(key) for key in LABEL_KEYS)
        return next((str(value) for value in named if value), self.model)


def stable_json(value: object) -> str:
    """Return JSON that is equal for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def parse_model_args(text: str) -> dict[str, Json]:
    """Read `k=v,k=v`, the same separated by blanks, or a JSON object.

    Raises:
        BadModel: The text is none of these, or asks for remote code.
    """
    text = text.strip()
    args = _from_json(text) if text.startswith("{") else _from_pairs(text)
    if args.pop("trust_remote_code", False) is not False:
        raise BadModel(
            model=text, reason="trust_remote_code is refused: it runs the model author's code"
        )
    return args


def _from_json(text: str) -> dict[str, Json]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise BadModel(model=text, reason=f"model arguments are not valid JSON: {error}") from error
    args: dict[str, Json] = value
    return args


def _from_pairs(text: str) -> dict[str, Json]:
    args: dict[str, Json] = {}
    for pair in re.split(r"[,\s]+", text):
        if not pair:
            continue
        key, equals, value = pair.partition("=")
        if not equals or not _KEY.fullmatch(key):
            reason = f"model arguments are key=value pairs or a JSON object, not {pair!r}"
            raise BadModel(model=text, reason=reason)
        if key in args:
            raise BadModel(model=text, reason=f"the argument {key!r} is given twice")
        args[key] = value if key in _TEXT_KEYS else _typed(value)
    return args


def _typed(text: str) -> Json:
    """Return the number, truth value or null that the text spells, else the text."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text
