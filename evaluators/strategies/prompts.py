"""Prompts as text files: one each, hashed into every result, replaceable by a prompt pack."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from string import Template
from typing import Literal

from evaluators.model import Message

Replacements = Mapping[tuple[str, str], "Prompt"]
"""Prompts by the package and the name of those that they stand in for."""

_replacements: ContextVar[Replacements] = ContextVar("prompt_pack", default={})  # noqa: B039 - never changed in place


@contextmanager
def replaced(prompts: Replacements) -> Iterator[None]:
    """Let other prompts stand in for packages' own in all that runs inside, and nowhere else."""
    token = _replacements.set(prompts)
    try:
        yield
    finally:
        _replacements.reset(token)


@dataclass(frozen=True)
class Prompt:
    """A text with `$placeholders`, read from a package's `prompts/` folder."""

    name: str
    """Path of the file below `prompts/`, without its suffix."""
    text: str
    package: str = field(default="", compare=False)
    """Importable package that it belongs to."""

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
        return cls(name, path.read_text(encoding="utf-8").strip(), package)

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

        Where a prompt pack is in force that replaces this prompt, its text is filled in instead.

        Raises:
            KeyError: A placeholder has no value.
        """
        return self._used.filled("user", values)

    def system(self, **values: str) -> Message:
        """Fill in the placeholders and return the text as a system message, as `message` does.

        Raises:
            KeyError: A placeholder has no value.
        """
        return self._used.filled("system", values)

    @property
    def _used(self) -> Prompt:
        return _replacements.get().get((self.package, self.name), self)

    def filled(self, role: Literal["user", "system"], values: Mapping[str, str]) -> Message:
        """Return this very text, whatever pack is in force, as a message that names its prompt.

        Raises:
            KeyError: A placeholder has no value.
        """
        text = Template(self.text).substitute(values)
        return Message(role, text, prompt=f"{self.name}@{self.digest}")
