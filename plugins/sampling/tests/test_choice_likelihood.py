"""Choice likelihood takes the likeliest option, in one call, and says how likely all were."""

import pytest

from evaluators.testing import play
from redraft_sampling.choice_likelihood import choice_likelihood

CHOICES = (" Paris", " Rome", " Oslo")


def weigh(*logprobs: float):
    return lambda request: list(logprobs)


@pytest.mark.parametrize(
    ("logprobs", "text", "right"),
    [
        ((-1, -2, -3), " Paris", True),
        ((-9, -2, -3), " Rome", False),
        ((-2, -2, -3), " Paris", True),
    ],
    ids=["right", "wrong", "first-of-equals"],
)
async def test_takes_the_likeliest(logprobs, text: str, right: bool) -> None:
    result = await play(choice_likelihood, gold="Paris", choices=CHOICES, weigh=weigh(*logprobs))
    (answer,) = result.answers
    assert (answer.text, answer.grade.correct) == (text, right)
    assert [choice.logprob for choice in answer.likelihoods] == list(logprobs)
    assert [choice.text for choice in answer.likelihoods] == list(CHOICES)


async def test_makes_one_call_and_generates_nothing() -> None:
    result = await play(choice_likelihood, gold="Paris", choices=CHOICES, weigh=weigh(-1, -2, -3))
    assert (result.calls, result.tokens_out) == (1, 0)
    (node,) = result.nodes
    assert node.payload["choices"] == list(CHOICES)
    assert node.payload["labels"] is False
    assert node.messages == result.sample.messages


def test_works_by_likelihood_alone() -> None:
    assert (choice_likelihood.modes, choice_likelihood.requires) == ({"likelihood"}, {"echo"})
