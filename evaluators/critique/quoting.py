"""Text under judgement, fenced off so that it cannot pass for instructions."""

from __future__ import annotations

import re

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


def own_words(reply: str, *labels: str) -> str:
    """Return a reply with what it quotes blanked out, every other character in its place.

    Judges repeat what they judge, and that may hold verdicts of its own. Quotations are the fenced
    blocks of the labels, an open one to the end of the reply, and lines that begin with `>`.

    Args:
        reply: What the judge wrote.
        labels: Those that judged texts were quoted under.
    """
    for label in labels:
        begin, end = (re.escape(f"{FENCE} {edge} {label} {FENCE}") for edge in ("begin", "end"))
        reply = re.sub(rf"{begin}.*?(?:{end}|\Z)", _blank, reply, flags=re.DOTALL)
    return re.sub(r"^[ \t]*>.*$", _blank, reply, flags=re.MULTILINE)


def _blank(found: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", found[0])
