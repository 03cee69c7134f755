"""Grades mathematical answers: extraction, cheap equality, then a symbolic comparison apart."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from evaluators.grading.extraction import Found, chosen_letter, final_answer
from evaluators.grading.normal import (
    Number,
    Several,
    as_latex,
    assignments,
    canonical,
    is_maths,
    name,
    number,
    plain,
    several,
)

TOLERANCE = 1e-4
"""Relative, where one side is written with a decimal point; whole numbers have to agree."""

LETTERS = "ABCDE"
"""Options of a question whose choices are not given."""

_MOST_ITEMS = 64
_LONGEST = 1_000
_DEEPEST = 30
_SOLUTION = re.compile(r"\\boxed|\\fbox|####|\n")
"""What only a whole solution has, not an answer."""
_FUNCTIONS = {"f", "g", "h", "y"}
"""Names that one function goes by: `f(x) = 2x` is `y = 2x`."""

_BASE = re.compile(r"\d\s*_")
"""A number with its base: math-verify would drop it."""

Symbolic = Callable[[str, str], "Outcome"]
"""Compares gold and answer as mathematics, somewhere where it may hang."""

Outcome = Literal["equal", "different", "unreadable", "timeout"]

_SAID: dict[Outcome, str] = {
    "equal": "symbolically equal",
    "different": "symbolically different",
    "unreadable": "not readable as mathematics",
    "timeout": "took too long to compare, counted as wrong",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one answer."""

    correct: bool | None
    """None only where there is nothing to grade with: no gold answer, or no prediction at all."""
    extracted: str | None
    """The final answer as it was written; None where there is none."""
    reason: str
    """What decided."""


def grade(
    prediction: str | None,
    gold: str,
    *,
    choices: Sequence[str] = (),
    alone: bool = False,
    symbolic: Symbolic,
) -> Verdict:
    """Grade a reply against a gold answer.

    Args:
        prediction: The whole reply, or the answer alone; None where nothing was generated.
        gold: The gold answer, or a solution that holds it in a box or after `####`.
        choices: Texts of the options, in the order of their letters.
        alone: The prediction was taken out of a reply already: nothing is looked for in it.
        symbolic: Compares as mathematics what cheaper rules cannot tell apart.
    """
    if prediction is None:
        return Verdict(None, None, "there is no prediction")
    expected = _gold(gold)
    if not expected:
        return Verdict(None, None, "the gold answer is empty")
    letters = string.ascii_uppercase[: len(choices)] if choices else LETTERS
    letter = _letter_of(expected, choices, letters)
    if letter:
        return _grade_choice(prediction, letter, choices=choices, letters=letters)
    found = Found(prediction, "extracted") if alone else final_answer(prediction)
    if found is None:
        return Verdict(False, None, "no answer found")
    equal, why = compare(expected, found.text, symbolic=symbolic)
    return Verdict(equal, found.text, f"{why} ({found.by})")


def extract(prediction: str, *, choices: Sequence[str] = (), lettered: bool = False) -> str | None:
    """Return the final answer of a reply alone.

    Args:
        lettered: The answer is one of A to E although the options' texts are not given.
    """
    if choices or lettered:
        letters = string.ascii_uppercase[: len(choices)] if choices else LETTERS
        chosen = _choice_in(prediction, choices=choices, letters=letters)
        return chosen.text if chosen else None
    found = final_answer(prediction)
    return found.text if found else None


def compare(gold: str, answer: str, *, symbolic: Symbolic) -> tuple[bool, str]:
    """Tell whether two answers are the same, and by which rule."""
    named = assignments(gold), assignments(answer)
    if named[0] and named[1]:
        return _same_values(named[0], named[1], symbolic=symbolic)
    # Against names, values without any are taken in the names' order.
    gold, answer = (
        f"({', '.join(values.values())})" if values else text
        for values, text in zip(named, (gold, answer), strict=True)
    )
    names = {name(gold), name(answer)} - {""}
    if len(names) > 1 and not names <= _FUNCTIONS:
        return False, "different names"
    if canonical(gold) == canonical(answer):
        return True, "same text"
    left, right = number(gold), number(answer)
    if left and right:
        return (True, "same number") if same_number(left, right) else (False, "different numbers")
    parts = several(gold), several(answer)
    if parts[0] and parts[1]:
        alike = _same_parts(parts[0], parts[1], symbolic=symbolic)
        if alike is not None:
            return alike
    return _as_mathematics(gold, answer, symbolic=symbolic)


def _same_values(
    gold: Mapping[str, str], answer: Mapping[str, str], *, symbolic: Symbolic
) -> tuple[bool, str]:
    """Compare what names stand for, in whatever order they come."""
    if gold.keys() != answer.keys():
        return False, "different names"
    same = all(compare(gold[key], answer[key], symbolic=symbolic)[0] for key in gold)
    return same, "same values" if same else "different values"


def same_number(left: Number, right: Number) -> bool:
    """Compare two numbers: exactly, or within the tolerance where one may be rounded."""
    pairs = [(left.value, right.value)]
    if left.percent != right.percent:
        scaled = (
            (left.value, right.value / 100) if right.percent else (left.value / 100, right.value)
        )
        pairs.append(scaled)
    rounded = left.decimal or right.decimal
    return any(a == b or (rounded and abs(a - b) * 10_000 <= max(abs(a), abs(b))) for a, b in pairs)


def _same_parts(gold: Several, answer: Several, *, symbolic: Symbolic) -> tuple[bool, str] | None:
    """Compare tuples, intervals and lists in order, sets and bare lists in any order.

    Returns None where the brackets leave it to mathematics to say what is meant.
    """
    kinds = {gold.brackets, answer.brackets}
    if len(gold.items) != len(answer.items) or len(gold.items) > _MOST_ITEMS:
        return (False, "different length") if kinds <= {"", "{}", "()", "[]"} else None
    if len(kinds) > 1 and kinds not in ({"", "{}"}, {"", "()"}, {"", "[]"}):
        return False, "different brackets"
    in_any_order = kinds <= {"", "{}"}
    left = list(answer.items)
    for item in gold.items:
        candidates = left if in_any_order else left[:1]
        same = next((c for c in candidates if compare(item, c, symbolic=symbolic)[0]), None)
        if same is None:
            return False, "different parts"
        left.remove(same)
    return True, "same set" if in_any_order else "same parts"


def _as_mathematics(gold: str, answer: str, *, symbolic: Symbolic) -> tuple[bool, str]:
    if not (is_maths(gold) and is_maths(answer)):
        return False, "different text"
    if _BASE.search(gold) or _BASE.search(answer):
        return False, "different text in another base"
    both = as_latex(gold), as_latex(answer)
    if max(map(len, both)) > _LONGEST or max(map(_depth, both)) > _DEEPEST:
        return False, "too long or too deep to compare"
    outcome = symbolic(*both)
    return outcome == "equal", _SAID[outcome]


def _depth(text: str) -> int:
    depth = deepest = 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _gold(gold: str) -> str:
    """Return the gold answer, from the solution it ends where that is what was given."""
    if _SOLUTION.search(gold.strip()):
        found = final_answer(gold)
        return found.text if found else ""
    return gold.strip()


def _letter_of(gold: str, choices: Sequence[str], letters: str) -> str | None:
    """Return the gold option's letter, or None where the question is not one of options."""
    bare = plain(gold).strip("().: ")
    if len(bare) == 1 and bare in letters:
        return bare
    return _letter_of_text(gold, choices, letters)


def _letter_of_text(text: str, choices: Sequence[str], letters: str) -> str | None:
    """Return the letter of the one option that reads so."""
    wanted = canonical(text)
    found = [k for k, choice in zip(letters, choices, strict=False) if canonical(choice) == wanted]
    return found[0] if len(found) == 1 else None


def _grade_choice(prediction: str, gold: str, *, choices: Sequence[str], letters: str) -> Verdict:
    chosen = _choice_in(prediction, choices=choices, letters=letters)
    if chosen is None:
        return Verdict(False, None, "no choice found")
    same = chosen.text == gold
    return Verdict(same, chosen.text, f"{'same' if same else 'different'} choice ({chosen.by})")


def _choice_in(prediction: str, *, choices: Sequence[str], letters: str) -> Found | None:
    """Return the chosen letter: as a letter, or as the text of one option."""
    chosen = chosen_letter(prediction, letters)
    if choices and (chosen is None or chosen.by == "last letter"):
        answer = final_answer(prediction)
        letter = _letter_of_text(answer.text, choices, letters) if answer else None
        if letter:
            return Found(letter, "text of an option")
    return chosen
