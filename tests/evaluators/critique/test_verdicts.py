"""What is said after a mark is found; the request repeated says nothing."""

import pytest

from evaluators.critique import parse_verdict, stated


@pytest.mark.parametrize(
    "text",
    [
        "Verdict: correct or wrong",
        'either "Verdict: correct" or "Verdict: wrong".',
        '"Verdict: correct" (it settles them all) or "Verdict: wrong" (it does not).',
        "Verdict: correct/wrong",
        "Verdict: [wrong | correct]",
        "**Verdict:** correct, or\n**Verdict:** incorrect",
        "Verdict: unknown",
        "",
    ],
)
def test_a_request_is_no_verdict(text: str) -> None:
    assert parse_verdict(text) is None


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Verdict: correct", "correct"),
        ("**Verdict:** Not correct.", "wrong"),
        ("Verdict: correct or wrong?\nVerdict: right", "correct"),
        ("Verdict: correct. Or is it?\nVerdict: incorrect", "wrong"),
        ("Verdict: wrong\n(or so I think)", "wrong"),
    ],
)
def test_the_last_verdict_counts(text: str, verdict: str) -> None:
    assert parse_verdict(text) == verdict


def test_places_are_those_of_the_text() -> None:
    text = "Result: yes or no\nResult: no. Result: YES!"
    found = stated(text, mark=r"\bresult", yes="yes", no="no")
    assert [(text[said.start() : said.end()], bool(said["yes"])) for said in found] == [
        ("Result: no", False),
        ("Result: YES", True),
    ]
