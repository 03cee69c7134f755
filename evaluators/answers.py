"""When two extracted answers are the same answer."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation


def same_answer(left: str | None, right: str | None) -> bool:
    """Tell whether two extracted answers agree: as numbers if both are, else as text.

    Text is compared without surrounding space, letter case or runs of blanks. Nothing equals an
    answer that could not be extracted, not even another one.
    """
    if left is None or right is None:
        return False
    return answer_key(left) == answer_key(right)


def answer_key(text: str) -> Decimal | str:
    """Return the canonical form under which equal answers collide, for counting votes."""
    plain = " ".join(text.split()).casefold()
    try:
        number = Decimal(plain.replace(",", ""))
    except InvalidOperation:
        return plain
    return number if number.is_finite() else plain
