"""One way of writing an answer: units, markup and spacing off, numbers and lists recognised."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_SYMBOLS = str.maketrans({
    "\u2212": "-", "\u2013": "-", "\u00d7": r"\times ", "\u00b7": r"\cdot ", "\u03c0": r"\pi ",
    "\u221e": r"\infty ", "\u00b0": "", "\u00a0": " ", "\u2009": " ", "\u202f": " ",
    "\u27e8": "(", "\u27e9": ")", "\uff0c": ",", "\u222a": r"\cup ", "\u00b1": r"\pm ",
    "\u2264": r"\le ", "\u2265": r"\ge ", "`": "", "\u2208": r"\in ",
})  # fmt: skip

_REPLACED = (
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (
        re.compile(r"\\(?:left|right|displaystyle|limits|[bB]ig[lr]?)(?![a-zA-Z])\.?"),
        "",
    ),
    (
        re.compile(
            r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf|it|sf)|mbox|operatorname|rm|bf)(?![a-zA-Z])\s*"
        ),
        r"\\text",
    ),
    (re.compile(r"(?<!\\)\\[!,;:> ]|\\q?quad(?![a-zA-Z])|~"), " "),
    (re.compile(r"(?<!\\)\\[()\[\]]|\$"), ""),
    (re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\\degree(?![a-zA-Z])"), ""),
    (re.compile(r"\\langle(?![a-zA-Z])"), "("),
    (re.compile(r"\\rangle(?![a-zA-Z])"), ")"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\leq(?![a-zA-Z])"), r"\\le"),
    (re.compile(r"\\geq(?![a-zA-Z])"), r"\\ge"),
    (re.compile(r"\\(?:neq)(?![a-zA-Z])"), r"\\ne"),
    (re.compile(r"\\lbrace(?![a-zA-Z])"), r"\\{"),
    (re.compile(r"\\rbrace(?![a-zA-Z])"), r"\\}"),
    (re.compile(r"\*\*(?=\s*[^\s*]*[A-Za-z])(?<![\w)]\*\*)"), ""),
    (re.compile(r"_\{(\w)\}"), r"_\1"),
    (re.compile(r"\^\{(\w)\}"), r"^\1"),
    (re.compile(r"\\frac\s*(\d)\s*(\d)(?!\d)"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\frac\s*(\d)\s*\{"), r"\\frac{\1}{"),
    (re.compile(r"\\frac(\{[^{}]*\})\s*(\d)"), r"\\frac\1{\2}"),
    (re.compile(r"\\sqrt\s*(\w)"), r"\\sqrt{\1}"),
)  # fmt: skip

_TEXT = re.compile(r"\\text\{([^{}]*)\}")
_CURRENCY = re.compile(
    r"^\s*([-+]?)\s*(?:\\?\$|\u20ac|\u00a3|USD|US\$)\s*|\s*(?:\u20ac|\u00a3)\s*$"
)
_NAMED = re.compile(r"^[A-Za-z](?:_\w)?(?:\([a-zA-Z]\))?\s*(?:=|\\in(?![a-z])|:)\s*(?=\S)")
_MIXED = re.compile(
    r"([-+]?)(\d{1,15})\s*\\frac\{(\d{1,15})\}\{(\d{1,15})\}|([-+]?)(\d{1,15})\s+(\d{1,15})/(\d{1,15})"
)
_RATIO = re.compile(
    r"([-+]?)\\frac\{\s*([-+]?[\d.]{1,40})\s*\}\{\s*([-+]?[\d.]{1,40})\s*\}|([-+]?[\d.]{1,40})\s*/\s*([-+]?[\d.]{1,40})"
)
_DECIMAL = re.compile(r"[-+]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][-+]?\d{1,3})?")
_REPEATING = re.compile(r"([-+]?)(\d{0,40})\.(\d{0,40})\\overline\{(\d{1,40})\}")
_SCIENTIFIC = re.compile(
    r"([-+]?\d{1,40}(?:\.\d{1,40})?)\s*(?:\\times|\\cdot|\*)\s*10\s*(?:\^|\*\*)\s*\{?\s*([-+]?\d{1,3})\s*\}?"
)
_GROUPED = re.compile(r"[-+]?\d{1,3}(?:,\s?\d{3})+(?:\.\d+)?")
_WITH_UNIT = re.compile(
    r"(?P<number>.*?[\d})%])(?:\s*(?P<percent>\\?%|percent\b|per\s?cent\b)|(?P<unit>\s*\\?[A-Za-z].*))?$"
)
_SHORT_UNITS = (
    "am|cc|cl|cm|dm|ft|g|gb|gm|h|hr|hz|in|j|k|kb|kg|kj|km|kw|l|lb|m|mb|mg|min|"
    "ml|mm|mph|ms|mi|n|oz|pa|s|sq|v|w|yd"
)
_LONG_UNITS = "hrs?|hours?|minutes?|mins?|seconds?|secs?|degrees?|days?|years?"
_UNIT = re.compile(
    rf"(?:\s+(?:[A-Za-z]{{3,20}}|(?i:{_SHORT_UNITS}))|(?i:{_SHORT_UNITS}|{_LONG_UNITS}))"
    r"\.?(?:[\s/]+[A-Za-z.]{1,20}){0,5}(?:\s*\^\s*\{?\d\}?|[23])?"
)
_SCALES = {
    "hundred": 100,
    "thousand": 1_000,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
_WORDS = re.compile(r"(?<![\\A-Za-z\d])[A-Za-z]{3,}|(?<![\\\w])[ap]\.?m\b")
_FUNCTIONS = frozenset(
    {
        "sin",
        "cos",
        "tan",
        "sec",
        "csc",
        "cot",
        "log",
        "exp",
        "min",
        "max",
        "gcd",
        "lcm",
        "mod",
        "det",
        "abs",
        "sqrt",
        "sinh",
        "cosh",
        "tanh",
        "asin",
        "acos",
        "atan",
        "infty",
        "theta",
        "alpha",
        "beta",
        "frac",
        "pmatrix",
        "bmatrix",
        "matrix",
        "vmatrix",
        "cases",
        "array",
        "aligned",
    }
)
_SMALL_WORDS = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}(?=\s+[A-Za-z]{2,})")
_SEPARATED = re.compile(r"\s(?:and|or)\s")


@dataclass(frozen=True, slots=True)
class Number:
    """A number that was written out."""

    value: Fraction
    percent: bool = False
    decimal: bool = False
    """Written with a decimal point, so it may be rounded."""


@dataclass(frozen=True, slots=True)
class Several:
    """A tuple, an interval, a set or a bare list."""

    items: tuple[str, ...]
    brackets: str
    """`()`, `[]`, `[)`, `(]`, `{}`, or nothing for a bare list."""


def plain(text: str) -> str:
    """Return an answer without markup that carries no meaning."""
    text = text.translate(_SYMBOLS)
    for pattern, put in _REPLACED:
        text = pattern.sub(put, text)
    for _ in range(3):
        text = _TEXT.sub(r" \1", text)
    return " ".join(text.split()).strip(" *").rstrip(".;,: ").strip()


def name(text: str) -> str:
    """Return the name that an answer gives what it states: `x` of `x = 5`; empty where none."""
    found = _NAMED.match(plain(text))
    return re.split(r"[=:\\(]", found.group())[0].strip() if found else ""


def canonical(text: str) -> str:
    """Return the form under which equal writings collide: without blanks, lower-case, unnamed."""
    bare = plain(text).strip("\"'\u201c\u201d")
    bare = _NAMED.sub("", bare, count=1)
    return re.sub(r"\s+|\\(?=%)", "", bare).casefold()


def unnamed(text: str) -> str:
    """Return what stands right of a leading `x =`."""
    return _NAMED.sub("", plain(text), count=1)


def number(text: str) -> Number | None:
    """Return the number that an answer is, without currency and unit, or None."""
    bare = _CURRENCY.sub(r"\1", unnamed(text.replace(r"\$", " "))).strip()
    if len(bare) > 1_000:
        return None
    found = _bare_number(bare)
    if found is not None:
        return Number(found, decimal="." in bare)
    split = _WITH_UNIT.fullmatch(bare)
    if not split:
        return None
    value = _bare_number(split["number"].rstrip("\\% "))
    if value is None:
        return None
    return _scaled(value, split)


def _scaled(value: Fraction, split: re.Match[str]) -> Number | None:
    """Apply what stands behind a number: a percent sign, a scale such as million, or a unit."""
    unit, decimal = (split["unit"] or "").strip(), "." in split["number"]
    if split["percent"] or split["number"].endswith("%"):
        return Number(value, percent=True, decimal=decimal)
    first = unit.split(" ")[0].casefold() if unit else ""
    if first in _SCALES:
        return Number(value * _SCALES[first], decimal=decimal)
    if first in {"percent", "percentage"}:
        return Number(value, percent=True, decimal=decimal)
    if unit and _UNIT.fullmatch(split["unit"]) and first not in {"pi", "and", "or", "to", "x", "i"}:
        return Number(value, decimal=decimal)
    return None


def _bare_number(text: str) -> Fraction | None:
    text = text.strip()
    if _GROUPED.fullmatch(text):
        text = re.sub(r",\s?", "", text)
    if _DECIMAL.fullmatch(text):
        return Fraction(text.rstrip("."))
    if repeating := _REPEATING.fullmatch(text):
        sign, whole, fixed, period = repeating.groups()
        scale = 10 ** len(fixed)
        value = Fraction(int(whole or 0) * scale + int(fixed or 0), scale)
        value += Fraction(int(period), scale * (10 ** len(period) - 1))
        return -value if sign == "-" else value
    if mixed := _MIXED.fullmatch(text):
        sign, whole, above, below = [g for g in mixed.groups() if g is not None]
        return _quotient(above, below, sign=sign, whole=whole)
    if ratio := _RATIO.fullmatch(text):
        parts = [g for g in ratio.groups() if g is not None]
        sign = parts.pop(0) if len(parts) == 3 else ""
        return _quotient(parts[0], parts[1], sign=sign)
    if scientific := _SCIENTIFIC.fullmatch(text):
        return Fraction(scientific[1]) * Fraction(10) ** int(scientific[2])
    return None


def _quotient(above: str, below: str, *, sign: str, whole: str = "0") -> Fraction | None:
    try:
        value = Fraction(whole) + Fraction(above) / Fraction(below)
    except (ValueError, ZeroDivisionError):
        return None
    return -value if sign == "-" else value


def as_latex(text: str) -> str:
    """Return an answer as a reader of LaTeX has to have it: powers of several letters in braces."""
    braced = re.sub(
        r"(?:\*\*|\^)\s*(?:\(([-+]?\w{1,40})\)|([-+]?\d{2,40}|(?<=\*\*)\w+))",
        r"^{\1\2}",
        plain(text),
    )
    return braced.replace("**", "^")


def assignments(text: str) -> dict[str, str] | None:
    """Return what several names stand for, as in `x = 3, y = 4`; None for anything else."""
    bare = plain(text)
    if bare[:1] in {"(", "["} and _encloses(bare):
        bare = bare[1:-1]
    items = _split(_SEPARATED.sub(",", bare)) or []
    values = {name(item): unnamed(item) for item in items}
    return values if len(items) > 1 and len(values) == len(items) and "" not in values else None


def several(text: str) -> Several | None:
    """Return the parts of a tuple, interval, set or list; None for anything else."""
    bare = unnamed(text)
    if bare.startswith(r"\{") and bare.endswith(r"\}"):
        inside, brackets = bare[2:-2], "{}"
    elif bare[:1] in "([{" and bare[-1:] in ")]}" and len(bare) > 2 and _encloses(bare):
        inside, brackets = bare[1:-1], bare[0] + bare[-1]
    else:
        inside, brackets = _SEPARATED.sub(",", bare), ""
    items = _split(inside)
    if items is None or (len(items) < 2 and brackets != "{}") or not all(items):
        return None
    return Several(tuple(items), brackets)


def _encloses(text: str) -> bool:
    """Tell whether the first bracket is closed by the last character and not before."""
    depth = 0
    for position, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if depth == 0:
            return position == len(text) - 1
    return False


def _split(text: str) -> list[str] | None:
    """Split at commas outside brackets; None where brackets do not match."""
    items, start, depth = [], 0, 0
    for position, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if depth < 0:
            return None
        if letter in ",;" and depth == 0:
            items.append(text[start:position].strip())
            start = position + 1
    return None if depth else [*items, text[start:].strip()]


def is_maths(text: str) -> bool:
    """Tell whether a line is nothing but mathematics: it has digits or symbols, and no prose."""
    bare = plain(text)
    if (
        len(bare) > 1_000
        or "\n" in text.strip()
        or not re.search(r"[\d\\^=+*/<>-]|^\W*\w\W*$", bare)
    ):
        return False
    words = [word for word in _WORDS.findall(bare) if word.casefold() not in _FUNCTIONS]
    return not words and not _SMALL_WORDS.search(bare)
