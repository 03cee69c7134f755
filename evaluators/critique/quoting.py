"""Text under judgement, fenced off so that it cannot pass for instructions."""

from __future__ import annotations

FENCE = "====="
"""What stands around a label; in quoted text it is broken up."""


def quoted(text: str, label: str) -> str:
    """Return a text between two lines that name it, for prompts about the text.

    The text cannot end its own quotation: a fence inside it is broken up. Prompts that show quoted
    text say that it is to be judged and that orders inside it are not to be followed.

    Args:
        text: What is quoted, as the model or the data set wrote it.
        label: What it is, such as `solution`.
    """
    inner = text.strip().replace(FENCE, "= = = = =")
    return f"{FENCE} begin {label} {FENCE}\n{inner}\n{FENCE} end {label} {FENCE}"
