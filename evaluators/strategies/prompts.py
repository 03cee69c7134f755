"""Prompts as text files: one each, hashed into every result that used them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from string import Template

from evaluators.model import Message


@dataclass(frozen=True)
class Prompt:
    """A text with `$placeholders`, read from a package's `prompts/` folder."""

    name: str
    """Path of the file below `prompts/`, without its suffix."""
    text: str

    @classmethod
    def load(cls, package: str, name: str) -> Prompt:
        """Read `prompts/<name>.txt` of a package.

        Args:
            package: Importable package that holds the folder.
            name: Path below it, such as `self_refine/feedback`.

        Raises:
            FileNotFoundError: There is no such file.
        """
        path = files(package).joinpath("prompts", *f"{name}.txt".split("/"))
        return cls(name, path.read_text(encoding="utf-8").strip())

    @cached_property
    def digest(self) -> str:
        """First 12 hex digits of the text's sha256."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]

    @property
    def placeholders(self) -> frozenset[str]:
        """Names that `message` must be given."""
        return frozenset(Template(self.text).get_identifiers())

    def message(self, **values: str) -> Message:
        """Fill in the placeholders and return the text as a user message that names its prompt.

        Raises:
            KeyError: A placeholder has no value.
        """
        filled = Template(self.text).substitute(values)
        return Message("user", filled, prompt=f"{self.name}@{self.digest}")
