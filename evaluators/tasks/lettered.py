"""Multiple choice in writing: lettered options under the question, a letter as the answer.

    What do plants take up from the air?

    A. Carbon dioxide
    B. Helium

    Answer with the letter of the right option alone.

Few-shot examples are put the same way, and answered with their letter.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

from evaluators.errors import BadTask
from evaluators.model import Json
from evaluators.tasks.checking import choose_filter, choose_metric, one_line
from evaluators.tasks.extraction import answer_line, trimmed
from evaluators.tasks.lm_eval import Doc, HarnessTask, Options, Turns, one_user_turn
from evaluators.tasks.spec import TaskSpec
from evaluators.tasks.written import clean, text_of

METRIC = "exact_match"
FILTER = "letter"

INSTRUCTION = "Answer with the letter of the right option alone."
CUE = "Answer:"
"""Ends a prompt without a chat."""

MAX_TOKENS = 64
"""Room for a sentence around the letter."""

_LOOKED_AT = 100
"""How many documents are looked at to see whether the right option always stands in one place."""

_OPENING = re.compile(r"(?:^|\n)[ \t]*(?:the )?(?:answer|response|a)(?: is)?[ \t]*:?[ \t]*$", re.I)
"""A last line of the question that only opens the answer; the instruction stands in its place."""

_LETTER = re.compile(
    r"[\s*_`\"'(\[]*(?:option\s+)?([A-Z])(?:[\s*_`\"')\].,:;!]*$|[.):\]]|\s*\n)", re.I
)
"""A letter that is the whole reply, ends its line, or is marked off from what follows."""

_NAMED = re.compile(r"\b(?:option|choice|letter)\s+[*_`\"'(\[]*([A-Z])\b|\(([A-Z])\)", re.I)
"""A letter that is named somewhere in the reply."""


class LetteredForm:
    """A multiple-choice task put in writing."""

    filters: tuple[str, ...] = (FILTER,)
    filter = FILTER
    parts: tuple[Json, ...] = ("lettered-1", INSTRUCTION, CUE)
    """What decides prompts beside the task itself: another form is another task."""

    def __init__(self, spec: TaskSpec, task: HarnessTask) -> None:
        """Look whether the task can be put in writing.

        Raises:
            BadTask: It scores by likelihoods only, or has another metric or filter.
        """
        self._spec, self._task = spec, task
        self.metric = choose_metric(spec, usable=(METRIC,), others=())
        choose_filter(spec, self.filters)
        if task.scores_by_itself:
            reason = (
                "computes its score from likelihoods by code of its own; "
                f"open it as {spec.name}:likelihood"
            )
            raise BadTask(task=spec.name, reason=reason)
        self._shuffles = _always_in_one_place(spec, task)

    def sampling(self) -> dict[str, Json]:
        """Return how letters are written: greedily, unless the caller wants it otherwise."""
        stop: list[Json] = [] if self._spec.chat else ["\n\n"]
        return {
            "max_tokens": self._spec.max_tokens or MAX_TOKENS,
            "temperature": self._spec.temperature or 0.0,
            "top_p": 1.0,
            "stop": stop,
        }

    def render(self, doc: Doc) -> dict[str, Any]:
        """Render a prompt with its options and their letters."""
        options = self._options(doc)
        question = {"role": "user", "content": _question(options)}
        return {
            "messages": self._messages(doc, question["content"]),
            "question": [question],
            "choices": list(options.texts),
            "metadata": {"labels": list(ascii_uppercase[: len(options.texts)])},
        }

    def gold(self, doc: Doc) -> str:
        """Return the letters of the right options."""
        return " | ".join(ascii_uppercase[index] for index in self._options(doc).right)

    def score(self, doc: Doc, answer: object) -> tuple[dict[str, float], dict[str, str | None]]:
        """Grade by letter, or by the exact text of an option."""
        options = self._options(doc)
        letter = letter_in(text_of(answer), options.texts)
        right = {ascii_uppercase[index] for index in options.right}
        return {f"{METRIC},{FILTER}": float(letter in right)}, {FILTER: letter}

    def extract(self, doc: Doc, text: str) -> str | None:
        """Return the letter that the text names, or whose option it is."""
        return letter_in(clean(text), self._options(doc).texts)

    def _options(self, doc: Doc) -> Options:
        return self._ordered(self._task.options(doc))

    def _ordered(self, options: Options) -> Options:
        if len(options.texts) > len(ascii_uppercase):
            raise ValueError(f"{len(options.texts)} options are more than there are letters")
        return _shuffled(options) if self._shuffles and not _is_lettered(options) else options

    def _messages(self, doc: Doc, question: str) -> Turns:
        turns: Turns = []
        for shot in map(self._ordered, self._task.shots(doc)):
            if not shot.right:
                raise ValueError("a few-shot example names no right option")
            turns.append({"role": "user", "content": _question(shot)})
            turns.append({"role": "assistant", "content": ascii_uppercase[shot.right[0]]})
        turns.append({"role": "user", "content": question})
        system = self._task.instructions(doc, self._spec.system_prompt)
        if not self._spec.chat:
            return [{"role": "user", "content": _plain(system, turns)}]
        shown = [{"role": "system", "content": system}, *turns] if system else turns
        return shown if self._spec.fewshot_as_multiturn else one_user_turn(shown, between="\n\n")


def written_as(options: Options) -> set[str]:
    """Return how a question may read in writing: with its options in their order, or in another."""
    return {_question(options), _question(_shuffled(options))}


def letter_in(text: str, options: Sequence[str]) -> str | None:
    """Return the letter of the option that a reply names or spells out; None when it does neither.

    Looked at first is what follows the last `Answer:`, then the beginning of the reply, then any
    letter that is called an option or stands in parentheses, if only one is.
    """
    letters = ascii_uppercase[: len(options)]
    for part in filter(None, (answer_line(text), text.strip())):
        found = _LETTER.match(part)
        if found and found[1].upper() in letters:
            return found[1].upper()
        if spelt := _spelt(part, options):
            return spelt
    named = {(first or second).upper() for first, second in _NAMED.findall(text)}
    known = sorted(named & set(letters))
    return known[0] if len(known) == 1 else None


def _spelt(text: str, options: Sequence[str]) -> str | None:
    """Return the letter of the one option that the text, or its first line, is."""
    plain = {_plain_text(text), _plain_text(text.splitlines()[0])}
    found = [i for i, option in enumerate(options) if _plain_text(option) in plain]
    return ascii_uppercase[found[0]] if len(found) == 1 else None


def _plain_text(text: str) -> str:
    return " ".join(trimmed(text).casefold().split())


def _question(options: Options) -> str:
    """Put the options under the question, unless it shows them under their letters already."""
    asked = _OPENING.sub("", options.question.rstrip()).rstrip()
    listed = (
        f"{letter}. {text.strip()}"
        for letter, text in zip(ascii_uppercase, options.texts, strict=False)
    )
    shown = [] if _is_lettered(options) else ["\n".join(listed)]
    return "\n\n".join([*filter(None, [asked]), *shown, INSTRUCTION])


def _is_lettered(options: Options) -> bool:
    """Tell whether the options are bare letters, which the question has to explain itself."""
    bare = [text.strip().strip("().").upper() for text in options.texts]
    return bare == list(ascii_uppercase[: len(bare)])


def _plain(system: str, turns: Turns) -> str:
    """Return everything as one text that ends where the letter belongs."""
    pairs = itertools.zip_longest(turns[::2], turns[1::2])
    texts = [
        f"{asked['content']}\n{CUE}" + (f" {answered['content']}" if answered else "")
        for asked, answered in pairs
        if asked
    ]
    return "\n\n".join([*filter(None, [system.strip()]), *texts])


def _always_in_one_place(spec: TaskSpec, task: HarnessTask) -> bool:
    """Tell whether the documents have their right option always in the same place.

    Such tasks were made for likelihoods, which know no order; in writing, a model that always
    says A would be right. Their options are put in an order that only question and options decide.
    """
    try:
        places = {
            task.options(task.docs[index]).right for index in range(min(_LOOKED_AT, len(task.docs)))
        }
    except Exception as error:
        reason = f"its options cannot be read: {one_line(error)}"
        raise BadTask(task=spec.name, reason=reason) from error
    return len(places) == 1 and len(task.docs) > 1


def _shuffled(options: Options) -> Options:
    def place(index: int) -> bytes:
        text = f"{options.question}\0{options.texts[index]}\0{index}"
        return hashlib.sha256(text.encode("utf-8", "replace")).digest()

    order = sorted(range(len(options.texts)), key=place)
    right = tuple(sorted(order.index(index) for index in options.right))
    return Options(options.question, tuple(options.texts[index] for index in order), right)
