"""The card file that an author puts beside a method: what its paper says and how it was built."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evaluators.errors import BadFile
from evaluators.evaluator import Evaluator


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ExampleSample(_Strict):
    """The question that the scripted example is played on."""

    gold: str = "42"
    """The right answer."""
    choices: tuple[str, ...] = ()
    """Options of the question, the right one among them."""
    given: str = ""
    """A solution to judge, for methods that judge one."""
    steps: tuple[str, ...] = ()
    """Its steps, where the method looks at them one by one."""
    first_error: int | None = None
    """Its first wrong step, from 0; -1: it has none."""


class Published(_Strict):
    """Figures that a paper prints for the method."""

    setting: str = Field(min_length=1)
    """Model and data set, as the paper names them."""
    figures: dict[str, float] = Field(min_length=1)
    """Per cent as printed, by our metrics' names where they exist."""
    source: str = Field(min_length=1)
    """Where they are printed: arXiv id and table."""
    unverified: bool = False
    """Nobody has checked them against the paper's own tables."""


class CardFile(_Strict):
    """All that a card file says."""

    title: str
    """Of the paper; empty for methods of our own."""
    calls: str = Field(min_length=1)
    """How many calls a sample takes, as a formula in the method's parameters."""
    decoding: str = Field(min_length=1)
    """How each kind of call is decoded."""
    stops: str = Field(min_length=1)
    """When the method stops."""
    deviations: tuple[str, ...] = ()
    """Where it does otherwise than the paper, and why."""
    example: tuple[str, ...] = Field(min_length=1)
    """Scripted replies; played, they draw the turn diagram."""
    example_params: dict[str, Any] = Field(default_factory=dict)
    """Parameters of the example."""
    example_sample: ExampleSample = Field(default_factory=ExampleSample)
    published: tuple[Published, ...] = ()


def read_card(evaluator: Evaluator) -> CardFile | None:
    """Read `cards/<name>.toml` of the evaluator's package; None where it has no such file.

    Raises:
        BadFile: The file is no TOML, or not what a card file is; the reason says where.
    """
    path = _path(evaluator)
    if path is None or not path.is_file():
        return None
    try:
        return CardFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadFile(path=str(path), line=None, reason=f"no TOML: {error}") from error
    except ValidationError as error:
        raise BadFile(path=str(path), line=None, reason=_words(error)) from error


def package_of(evaluator: Evaluator) -> str:
    """Return the name of the top package that the evaluator's module is in."""
    return evaluator.function.__module__.partition(".")[0]


def _path(evaluator: Evaluator) -> Traversable | None:
    package = package_of(evaluator)
    if package == evaluator.function.__module__:
        return None  # a plugin of one module has no folder to put a card in
    return files(package).joinpath("cards", f"{evaluator.name}.toml")


def _words(error: ValidationError) -> str:
    """Say in one line what is wrong at which keys."""
    found = error.errors(include_url=False)
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found)
