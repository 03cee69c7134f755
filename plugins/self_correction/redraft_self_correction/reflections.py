"""The parts of a reflection on a wrong answer, and masks for what would give the answer away."""

import re
from collections.abc import Iterable

PARTS = ("explanation", "keywords", "solution", "instructions", "advice")
"""In the order in which they are asked for."""

MASK = "[REDACTED]"

_HEADING = re.compile(
    rf"^(?:[^\w\n]|\d){{0,16}}(?:error )?({'|'.join(PARTS)})\b[^\w\n]{{0,16}}?(?::|$)", re.I | re.M
)

# Edges of a whole word or number: neither 4 in 14 nor in 4.5 is the answer 4.
_BEFORE = r"(?<!\w)(?<!\d[.,])"
_AFTER = r"(?!\w)(?![.,]\d)"


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
    labels of choices; longer secrets are looked for first.
    """
    found = sorted({" ".join(s.split()) for s in secrets if s.strip()}, key=len, reverse=True)
    if not found:
        return text, 0
    pattern = "|".join(map(_pattern, found))
    return re.subn(f"{_BEFORE}(?:{pattern}){_AFTER}", MASK, text)


def _pattern(secret: str) -> str:
    plain = re.sub(r"(?<=\d),(?=\d{3})", "", secret)
    words = r"\s+".join(map(re.escape, plain.split()))
    if re.fullmatch(r"-?\d+", plain):
        # 1204 is 1,204 and 1204.0 too
        words = ",?".join(plain) + r"(?:\.0+)?"
    return words if len(secret) == 1 else f"(?i:{words})"
