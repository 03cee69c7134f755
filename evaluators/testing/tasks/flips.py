"""Documents whose question tells the echo runtime what to answer, turn by turn."""

from __future__ import annotations

from typing import Any

from evaluators.tasks.datasets import dataset

PATTERN = {"keep": 9, "break": 3, "fix": 4, "stubborn": 5, "wander": 3}
"""How many of every 24 documents go which way from the first answer to the second."""


def documents(*, size: int = 240, **_metadata: object) -> dict[str, Any]:
    """Build the splits `test` and `fewshot`; any multiple of 24 documents holds all ways alike."""
    ways = [way for way, count in PATTERN.items() for _ in range(count)]
    # 5 is prime to 24, so this visits every place once and mixes the ways.
    mixed = [ways[(5 * place) % len(ways)] for place in range(len(ways))]
    test = [_doc(number, mixed[number % len(mixed)]) for number in range(size)]
    return {"test": dataset(test), "fewshot": dataset([_doc(size + n, "keep") for n in range(8)])}


def _doc(number: int, way: str) -> dict[str, object]:
    right, wrong, other = (f"Answer: {100 + 7 * number + off}" for off in (0, 1, 2))
    first, second = {
        "keep": (right, right),
        "break": (right, wrong),
        "fix": (wrong, right),
        "stubborn": (wrong, wrong),
        "wander": (wrong, other),
    }[way]
    return {
        "number": number + 1,
        "script": f"<<{first}|{second}>>",
        "target": str(100 + 7 * number),
    }
