"""What a run can find, said before it is submitted."""

from __future__ import annotations

from evaluators.metrics import planned_effect

SIZES = (50, 200, 1000)
"""Numbers of questions to choose between."""


def in_reach() -> str:
    """Say which differences runs of some sizes find, before anything is known of their spread."""
    points = [f"{100 * planned_effect(size):.0f} with {size:,}" for size in SIZES]
    return f"Paired differences found 4 times in 5, in points: {', '.join(points)}."
