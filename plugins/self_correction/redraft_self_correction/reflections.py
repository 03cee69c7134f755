"""The parts of a reflection on a wrong answer, and masks for what would give the answer away."""

import re
from collections.abc import Iterable

from evaluators.api import answer_key

PARTS = ("explanation", "keywords", "solution", "instructions", "advice")
"""In the order in which they are asked for."""

MASK = "[REDACTED]"

_HEADING = re.compile(
    rf"^(?:[^\w\n]|\d){{0,16}}(?:error )?({'|'.join(PARTS)})\b[^\w\n]{{0,16}}?(?::|$)", re.I | re.M
)

# Edges of a whole word or number: neither 4 in 14 nor in 4.5 is the answer 4.
_BEFORE = r"(?<!\w)(?<!\d[.,])"
_AFTER = r"(?!\w)(?![.,]\d)"
_NUMBER = r"-?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+|(?<=\d))"


def read_parts(reflection: str) -> dict[str, str]:
    """Return the parts of a reflection by their headings; of equal headings, the first counts."""
    _, *pieces = _HEADING.split(reflection)
    parts: dict[str, str] = {}
    for name, text in zip(pieces[::2], pieces[1::2], strict=True):
        parts.setdefault(name.lower(), text.strip(" *\n"))
    return parts


def redacted(text: str, secrets: Iterable[str]) -> tuple[str, int]:
    """Mask every whole occurrence of the secrets and say how many there were.

    Blanks and letter case do not matter, except the case of single characters, which are mostly
    labels of choices; longer secrets are looked for first. Numbers are masked in every way of
    writing them: 1204 as 1,204 and 1204.0 too.
    """
    found = sorted({" ".join(s.split()) for s in secrets if s.strip()}, key=len, reverse=True)
    if not found:
        return text, 0
    numbers = {answer_key(secret) for secret in found if re.fullmatch(_NUMBER, secret)}
    count = 0

    def mask(match: re.Match[str]) -> str:
        nonlocal count
        number = match["number"]
        sign = ""
        if number and answer_key(number) not in numbers:
            sign, digits = number[:1], number[1:]
            if sign != "-" or answer_key(digits) not in numbers:
                return number
        count += 1
        return f"{sign}{MASK}"

    words = "|".join(_pattern(one) for one in found if not re.fullmatch(_NUMBER, one))
    secret = f"(?:{words})|(?P<number>{_NUMBER})" if words else f"(?P<number>{_NUMBER})"
    return re.sub(f"{_BEFORE}(?:{secret}){_AFTER}", mask, text), count


def _pattern(secret: str) -> str:
    words = r"\s+".join(map(re.escape, secret.split()))
    return words if len(secret) == 1 else f"(?i:{words})"
