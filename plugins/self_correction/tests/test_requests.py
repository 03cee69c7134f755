"""What models say instead of doing what they are asked: the request itself, or very little."""

import time
from collections.abc import Callable

import pytest

from evaluators.api import Prompt, strategies
from redraft_self_correction.checklist import CHECK, read_items
from redraft_self_correction.checklist import read_result as read_item
from redraft_self_correction.critic_cot import CRITIQUE as LABEL
from redraft_self_correction.critic_cot import read_labels
from redraft_self_correction.decide_then_revise import DECIDE, read_decision
from redraft_self_correction.progco import EXECUTE, read_result
from redraft_self_correction.reflections import read_parts
from redraft_self_correction.segments import segments
from redraft_self_correction.verifier_gated_refine import SCORE, read_score
from redraft_self_correction.verify_then_revise import VERIFY, read_marker

Read = Callable[[str], object]
Verdict = strategies.read_verdict


def prompt(name: str) -> Prompt:
    return Prompt.load("redraft_self_correction", name)


def label(text: str) -> object:
    found = read_labels(text, 2)
    return found.value or found.step


def choice(text: str) -> object:
    return strategies.read_choice(text, 2)


def score(text: str) -> object:
    return read_score(text, 0.5)


ASKED: list[tuple[Prompt, Read]] = [
    (VERIFY, read_marker),
    (LABEL, label),
    (EXECUTE, read_result),
    (CHECK, read_item),
    (SCORE, score),
    (DECIDE["fair"], read_decision),
    (DECIDE["biased"], read_decision),
    (prompt("ask_refine_trust/trust"), choice),
    *(
        (prompt(name), Verdict)
        for name in (
            "ask_refine_trust/ask",
            "critic_in_loop/critique",
            "feedback_refine/assess",
            "in_response_verify/solve_and_check",
            "self_refine/feedback",
            "sets/verify",
            "verifier_gated_refine/judge",
        )
    ),
]


@pytest.mark.parametrize(("asked", "read"), ASKED, ids=[asked.name for asked, _ in ASKED])
def test_a_request_repeated_is_no_judgement(asked: Prompt, read: Read) -> None:
    assert read(asked.text) is None
    last = asked.text.rsplit(". ", 1)[-1]
    assert read(last) is None


LONG = 20_000
EMPTY = {
    "lines": "\n" * LONG,
    "spaces": "The answer is correct" + " " * LONG + "x",
    "numbered lines": "1\n" * (LONG // 2),
    "dotted lines": "....\n" * (LONG // 5) + "x",
    "questions": "? " * LONG + "x",
    "bullets": "- " * LONG + "?x",
    "marks": "Verdict: " * (LONG // 9),
    "blanks": "a? " + "_" * LONG + "x",
}
"""Replies that say nothing at length, as a model caught in a loop does."""

READERS: dict[str, Read] = {read.__name__: read for _, read in ASKED} | {
    "segments": lambda text: list(segments(text)),
    "parts": read_parts,
    "items": lambda text: read_items(text, 5),
}


@pytest.mark.parametrize("said", EMPTY)
@pytest.mark.parametrize("reader", READERS)
def test_a_long_reply_is_read_without_delay(reader: str, said: str) -> None:
    """Readers run in the loop that all samples share: one that is slow holds up every call."""
    began = time.process_time()
    READERS[reader](EMPTY[said])
    assert time.process_time() - began < 1
