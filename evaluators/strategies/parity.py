"""Information parity: later prompts may demand no form of the answer that the question lacks."""

from __future__ import annotations

import re
from collections.abc import Iterable

from evaluators.errors import BadTask
from evaluators.model import Sample
from evaluators.strategies.packs import PromptPack

_NUMBER = (
    r"(?:\d+|a hundred|(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:-\w+)?"
    r"|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w{3,5}teen)"
)

MARKERS = {
    r"\boxed{}": r"\\boxed\b",
    "####": r"####",
    "JSON": r"\bjson\b",
    "XML": r"\bxml\b|</?answer>",
    "YAML": r"\byaml\b",
    "LaTeX": r"\blatex\b",
    "brackets": r"\b(?:square|curly|double) (?:brackets|braces)\b",
    "items in a row": r"\b(?:comma|semicolon)[- ]separated\b"
    r"|\bseparated by (?:commas|semicolons)\b",
    "a code block": r"```|\bcode block\b",
    "an option letter": r"\b(?:option|choice|answer)(?:'s)? letter\b|\bletter of (?:the|your)\b"
    r"|\b(?:only|just) the letter\b|\bthe letter (?:only|alone)\b"
    r"|\(A\)(?:,? or |, ?)\(?B\)?|\bA, B, C\b",
    "a sentence with the answer": r"\banswer is:? ?(?:\$?\(?[XYZN]\)?(?!\w|['’]\w)|[<\[{(_.…])",
    "a line with the answer": r"^\s*(?:final )?answer: ?[<\[{(_.…]",
    "one word or number": r"\b(?:one|single) (?:word|number|integer|letter)\b",
    "a length": r"\b(?:at most|no more than|fewer than|less than|within|under|exactly) "
    rf"{_NUMBER} (?:words?|sentences?|lines?|characters?|paragraphs?)\b",
    "decimal places": rf"\bdecimal places?\b|\bround(?:ed)? to\b|\b{_NUMBER} decimals\b",
    "a kind of number": r"\bas an? (?:integer|whole number|fraction|decimal|percentage)\b"
    r"|\banswer (?:must|should) be an? (?:integer|whole number|fraction|decimal|percentage)\b",
}
"""Forms of an answer by what gives a demand for them away."""

_FLAGS = re.IGNORECASE | re.MULTILINE
_COMPILED = {form: re.compile(pattern, _FLAGS) for form, pattern in MARKERS.items()}


def demands(text: str) -> set[str]:
    """Return the forms of an answer that a text speaks of."""
    return {form for form, pattern in _COMPILED.items() if pattern.search(text)}


def require_parity(pack: PromptPack, samples: Iterable[Sample]) -> None:
    """Refuse a pack that demands a form of the answer which a task's own question lacks.

    A second answer that is better only because its prompt said more than the first one's did is no
    correction (the prompt confound of arXiv 2310.01798). A form counts as asked for where it
    stands anywhere in the first prompt, its system prompt and few-shot examples included. What the
    installed prompt speaks of as well is the form of a verdict, not of an answer.

    Raises:
        BadTask: A prompt demands more than a sample's first prompt; the reason names both.
    """
    wanted = {
        prompt: demands(prompt.text) - demands(pack.originals[key].text)
        for key, prompt in pack.prompts.items()
    }
    if not pack.info_parity or not any(wanted.values()):
        return
    for sample in samples:
        asked = demands("\n".join(message.content for message in sample.messages))
        for prompt, forms in wanted.items():
            for form in sorted(forms - asked):
                reason = (
                    f"the prompt {prompt.package}/{prompt.name} of the pack {pack.name} demands "
                    f"{form}, which the question does not ask for; later prompts must not tell "
                    f"more than the first"
                )
                raise BadTask(task=sample.task, reason=reason)
