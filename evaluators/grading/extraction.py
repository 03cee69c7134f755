"""Find the final answer in what a model wrote, by the field's order of precedence.

Every function takes time linear in the length of the text, whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from evaluators.grading.normal import is_maths, plain

_LONGEST = 40_000
"""Characters from the end that are looked at: a final answer further up is none."""

_LONGEST_ANSWER = 2_000
_SHORT = 12

_BOX = re.compile(r"\\(?:boxed|fbox)\s*")
_SHORT_BOX = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?|[A-Za-z](?![A-Za-z])")
_CALCULATOR = re.compile(r"<<[^<>\n]{0,200}>>")
_GAP = r"[\s*_`:\uff1a]{0,12}"
_NOT = r"(?!\s+is(?:n['\u2019]t|\s+not)\b)"
"""What a statement says the answer not to be, it does not state."""
_FINAL = re.compile(rf"\bfinal\s+answer{_NOT}(?:\s+is)?{_GAP}", re.IGNORECASE)
_HASHES = re.compile(r"####[ \t]*([^\n]+)")
_ANSWER = re.compile(
    rf"\b(?:answer|choice|option){_NOT}(?:\s+(?:is|would\s+be|must\s+be)\b|[\s*_`]{{0,6}}[:\uff1a]){_GAP}",
    re.IGNORECASE,
)
_MATH = re.compile(
    r"\$\$(.{1,500}?)\$\$|(?<!\\)\$(?!\s)([^$\n]{1,500})(?<![\s\\])\$(?!\d)|\\\((.{1,500}?)\\\)|\\\[(.{1,500}?)\\\]",
    re.DOTALL,
)
_SENTENCE_END = re.compile(r"\.(?=\s|$)|[\n;!?]")
_NUMBER = re.compile(
    r"(?<![\w.])[-\u2212+]?\$?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?%?"
    r"|(?<![\w.])[-\u2212+]?\.[0-9]+"
)
_FRACTION = re.compile(r"(?<![\w.])[-\u2212+]?[0-9]+\s?/\s?[0-9]+(?![\w/])")
_LETTER_IN_BOX = re.compile(
    r"\W*(?:\\(?:text|mathrm|mathbf|textbf|mathit)\s*\{)?\W*([A-Z])(?![A-Za-z])"
)
_BRACKETED = r"\(([{letters}])\)"
_STANDING_ALONE = r"(?<![A-Za-z0-9'\u2019\\])([{letters}])(?![A-Za-z0-9'\u2019])(?!\s+[a-z])"


@dataclass(frozen=True, slots=True)
class Found:
    """The final answer as it was written, and what gave it away."""

    text: str
    by: str
    """`boxed`, `final answer`, `####`, `answer is`, `whole text`, `last expression`, `last number`,
    or for a choice `last letter`."""


def final_answer(text: str) -> Found | None:
    r"""Return the final answer of a reply, or None where there is none.

    In this order: the last filled `\boxed{}`; what follows the last "final answer is"; the last
    `####`; what follows the last "answer is" or "Answer:"; the whole text, if it is one line of
    mathematics; mathematics that ends the last line; the last number. Thoughts before `</think>`
    do not count.
    """
    said = _said(text)
    for by, find in _FINDERS.items():
        answer = find(said)
        if answer:
            return Found(answer[:_LONGEST_ANSWER], by)
    return None


def chosen_letter(text: str, letters: str) -> Found | None:
    """Return the option that a reply chooses: a letter in a box, after a phrase, or the last.

    Args:
        text: The reply.
        letters: The options there are, such as `ABCD`.
    """
    said = _said(text)
    boxed = list(_boxes(said))
    if boxed:  # letters elsewhere are talk about the options
        found = (_letter_in_box(answer, letters) for answer in boxed)
        return next((Found(letter, "boxed") for letter in found if letter), None)
    return (
        _letter_after_phrase(said, letters)
        or _letter_alone(said.strip(), letters)
        or _last_letter(said, letters)
    )


def _letter_after_phrase(text: str, letters: str) -> Found | None:
    for by, marker in (("final answer", _FINAL), ("answer is", _ANSWER)):
        for end in _ends(marker, text):
            letter = _first_letter(text[end : end + 80].partition("\n\n")[0], letters)
            if letter:
                return Found(letter, by)
    return None


def _letter_alone(text: str, letters: str) -> Found | None:
    letter = _letter_in_box(text, letters) if len(text) <= _SHORT else None
    return Found(letter, "whole text") if letter else None


def _last_letter(text: str, letters: str) -> Found | None:
    for pattern in (_BRACKETED, _STANDING_ALONE):
        found = re.findall(pattern.format(letters=letters), text)
        if found:
            return Found(found[-1], "last letter")
    return None


def _said(text: str) -> str:
    """Return what counts of a reply: its end, without thoughts and calculator marks."""
    return _CALCULATOR.sub("", text[-_LONGEST:].rpartition("</think>")[2])


def _ends(marker: re.Pattern[str], text: str) -> Iterator[int]:
    """Yield where the marker's matches end, last first."""
    yield from reversed([match.end() for match in marker.finditer(text)])


def _boxes(text: str) -> Iterator[str]:
    """Yield what stands in boxes, last first; boxes that are empty or never close are none."""
    ends = _closing_braces(text)
    for start in _ends(_BOX, text):
        inside = ""
        if text[start : start + 1] == "{":
            end = ends.get(start)
            inside = text[start + 1 : end].strip() if end is not None else ""
        elif short := _SHORT_BOX.match(text, start):
            inside = short.group()
        if inside and not _BOX.match(inside):
            yield inside


def _closing_braces(text: str) -> dict[int, int]:
    """Return where every brace that closes is closed."""
    found, still_open = dict[int, int](), list[int]()
    for match in re.finditer(r"\\[{}\\]|[{}]", text):
        if match.group() == "{":
            still_open.append(match.start())
        elif match.group() == "}" and still_open:
            found[still_open.pop()] = match.start()
    return found


def _boxed(text: str) -> str | None:
    return next(_boxes(text), None)


def _after(marker: re.Pattern[str]) -> Callable[[str], str | None]:
    """Return a finder of what follows the last match that something follows."""

    def find(text: str) -> str | None:
        for end in _ends(marker, text):
            answer = _stated(text[end : end + _LONGEST_ANSWER])
            if answer:
                return answer
        return None

    return find


def _stated(tail: str) -> str | None:
    """Return the answer that a phrase's tail states: its mathematics, its number or its words."""
    tail = tail.lstrip()
    opening = _MATH.match(tail)
    if opening:
        return _inner(opening)
    end = _SENTENCE_END.search(tail)
    sentence = tail[: end.start()].strip(' \t*_`"') if end else tail.strip(' \t*_`"')
    if not sentence or is_maths(sentence):
        return sentence or None
    inline = [_inner(match) for match in _MATH.finditer(sentence)]
    if inline:
        return inline[-1]
    return _number_of(sentence) or sentence


def _number_of(sentence: str) -> str | None:
    """Return the first number of a sentence, or the first after its last equals sign."""
    part = sentence.rpartition("=")[2]
    found = _FRACTION.search(part) or _NUMBER.search(part)
    return found.group() if found else None


def _hashes(text: str) -> str | None:
    found = _HASHES.findall(text)
    return str(found[-1]).strip() if found else None


def _whole(text: str) -> str | None:
    """Return the text if it is nothing but an answer."""
    alone = text.strip()
    math = _MATH.fullmatch(alone)
    if math:
        return _inner(math)
    words = plain(alone)
    short = len(alone) <= 40 and "\n" not in alone and len(words.split()) <= 2
    return alone if alone and "\n" not in alone and (is_maths(alone) or short) else None


def _last_expression(text: str) -> str | None:
    """Return the mathematics that ends the last line, right of its last equals sign."""
    line = text.rstrip().rpartition("\n")[2]
    found = list(_MATH.finditer(line)) if len(line) <= _LONGEST_ANSWER else []
    display = re.search(r"(?:\$\$|\\\[)([^$]{1,500}?)(?:\$\$|\\\])\s*\Z", text[-1_000:])
    if not found and display:
        return display.group(1).rpartition("=")[2].strip() or None
    if not found or re.search(r"[\w]{3}", line[found[-1].end() :]):
        return None
    return _inner(found[-1]).rpartition("=")[2].strip() or None


def _last_number(text: str) -> str | None:
    found = None
    for found in _NUMBER.finditer(text):  # noqa: B007 - the last one is kept
        pass
    return found.group() if found else None


def _inner(match: re.Match[str]) -> str:
    return next((group.strip() for group in match.groups() if group), "")


def _letter_in_box(answer: str, letters: str) -> str | None:
    found = _LETTER_IN_BOX.match(answer)
    return found.group(1) if found and found.group(1) in letters else None


def _first_letter(tail: str, letters: str) -> str | None:
    found = re.search(_STANDING_ALONE.format(letters=letters), tail)
    bracketed = re.search(_BRACKETED.format(letters=letters), tail)
    leading = _letter_in_box(tail.lstrip("$ \t\n*_"), letters)
    first = bracketed or found
    return leading or (first.group(1) if first else None)


_FINDERS: dict[str, Callable[[str], str | None]] = {
    "boxed": _boxed,
    "final answer": _after(_FINAL),
    "####": _hashes,
    "answer is": _after(_ANSWER),
    "whole text": _whole,
    "last expression": _last_expression,
    "last number": _last_number,
}
"""In order of precedence."""
