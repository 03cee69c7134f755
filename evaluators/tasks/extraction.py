"""Find the answer in what a model wrote: the filters of the bundled tasks.

Every function takes time linear in the length of the text, whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

INVALID = "[invalid]"
"""What lm-eval's filters return when they find nothing."""

Responses = Sequence[Sequence[str]]
"""lm-eval's shape: for every document, the responses to it."""

_MARKER = re.compile(r"\banswer[ \t*_`]{0,8}(?:is\b[ \t*_`]{0,8}:?|[:\uff1a])", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\{([^{}\n]{0,200})\}")
_NUMBER = re.compile(
    r"(?:(?<![\w.)])[-+])?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
    r"(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,2}(?![0-9]))?"
)
_VERDICT = re.compile(r"\b(yes|no|true|false)\b", re.IGNORECASE)
_LONGEST = 2000
_LONGEST_NUMBER = 60
_OPENING = " \t*_`\"'\u201c\u2018($["
_CLOSING = " \t\r*_`\"'\u201d\u2019)$].,;!"


def answer_line(text: str) -> str | None:
    """Return what follows the last `Answer:` or `answer is`, there or on the next full line."""
    end = None
    for marker in _MARKER.finditer(text):
        end = marker.end()
    if end is None:
        return None
    lines = (trimmed(line) for line in text[end : end + 2 * _LONGEST].splitlines())
    return next((line for line in lines if line), None)


def last_line(text: str) -> str | None:
    """Return the last line that is not blank, after its last colon."""
    for line in reversed(text[-2 * _LONGEST :].splitlines()):
        found = trimmed(line.rpartition(":")[2])
        if found:
            return found
    return None


def number_in(text: str | None) -> str | None:
    """Return the first number, or the first after the last equals sign, in its shortest form."""
    if text is None:
        return None
    found = _NUMBER.search(text.replace("\u2212", "-").rpartition("=")[2])
    return _shortest(found.group()) if found else None


def last_number(text: str) -> str | None:
    """Return the last number of the text, in its shortest form."""
    found = None
    for found in _NUMBER.finditer(text.replace("\u2212", "-")):  # noqa: B007 - the last one is kept
        pass
    return _shortest(found.group()) if found else None


def verdict_in(text: str | None) -> str | None:
    """Return the first of yes, no, true and false, capitalised."""
    found = _VERDICT.search(text) if text else None
    return found.group().capitalize() if found else None


def last_verdict(text: str) -> str | None:
    """Return the last of yes, no, true and false, capitalised."""
    found = _VERDICT.findall(text)
    return str(found[-1]).capitalize() if found else None


def items_in(text: str | None) -> str | None:
    """Return a list as `a, b, c`, without brackets or quotes."""
    items = [trimmed(item) for item in (text or "").split(",")]
    return ", ".join(item for item in items if item) or None


def last_list(text: str) -> str | None:
    """Return the last line that holds a comma, as a list."""
    for line in reversed(text[-2 * _LONGEST :].splitlines()):
        if "," in line:
            return items_in(line.rpartition(":")[2])
    return None


def _shortest(number: str) -> str | None:
    """Drop exponent, plus sign, thousands separators, leading zeros and a fraction of zeros."""
    if len(number) > _LONGEST_NUMBER:
        return None
    if "e" in number.lower():
        number = format(Decimal(number.replace(",", "")), "f")
    sign = "-" if number.startswith("-") else ""
    whole, _, fraction = number.lstrip("+-").replace(",", "").partition(".")
    whole = whole.lstrip("0") or "0"
    fraction = fraction.rstrip("0")
    plain = f"{whole}.{fraction}" if fraction else whole
    return plain if plain == "0" else sign + plain


def trimmed(text: str) -> str:
    """Take off the quotes, emphasis and punctuation that people put around an answer."""
    boxed = _BOXED.search(text[:_LONGEST])
    inner = boxed.group(1) if boxed else text[:_LONGEST]
    return inner.strip().lstrip(_OPENING).rstrip(_CLOSING).strip()


def _as_filter(find: Callable[[str], str | None]) -> Callable[[Responses, object], list[list[str]]]:
    """Make a finder a `filter_fn` of lm-eval's `custom` filter."""

    def apply(responses: Iterable[Sequence[str]], _docs: object) -> list[list[str]]:
        return [[find(text) or INVALID for text in texts] for texts in responses]

    return apply


text_line = _as_filter(answer_line)
text_anywhere = _as_filter(lambda text: answer_line(text) or last_line(text))
number_line = _as_filter(lambda text: number_in(answer_line(text)))
number_anywhere = _as_filter(lambda text: number_in(answer_line(text)) or last_number(text))
verdict_line = _as_filter(lambda text: verdict_in(answer_line(text)))
verdict_anywhere = _as_filter(lambda text: verdict_in(answer_line(text)) or last_verdict(text))
list_line = _as_filter(lambda text: items_in(answer_line(text)))
list_anywhere = _as_filter(lambda text: items_in(answer_line(text)) or last_list(text))
