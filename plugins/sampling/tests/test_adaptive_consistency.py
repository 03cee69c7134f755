"""Adaptive consistency stops as soon as its rule says so, and never without an answer."""

import pytest

from evaluators.engine import evaluate
from evaluators.errors import BadParameter
from evaluators.model import ChatRequest, SampleResult
from evaluators.testing import ScriptedModel, ScriptedTask, play
from redraft_sampling.adaptive_consistency import adaptive_consistency
from redraft_sampling.self_consistency import self_consistency

A, B, C, NONE = "Answer: 42", "Answer: 41", "Answer: 40", ""


async def drawn(script: list[str], **params: object) -> SampleResult:
    return await play(adaptive_consistency, script, **params)


@pytest.mark.parametrize(
    ("stopper", "script", "samples"),
    [
        ("beta", [A], 4),
        ("beta", [A, A, A, B, A], 7),  # (6, 1) stops
        ("dirichlet", [A], 4),
        ("dirichlet", [A, B, C, A], 9),  # (6, 1) would be enough for beta, (6, 1, 1) is not
        ("entropy", [A], 4),
        ("entropy", [A, B, A], 5),
        ("majority", [A], 2),
        ("majority", [A, B, A], 5),
        ("window", [A], 5),
        ("window", [A, A, B, A], 10),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_stops_when_the_rule_is_met(stopper: str, script: list[str], samples: int) -> None:
    result = await drawn(script, stopper=stopper)
    assert (result.calls, result.facts["samples"]) == (samples, samples)
    assert result.stop_reason == f"{stopper} rule"
    assert result.answers[-1].text == A


@pytest.mark.parametrize("stopper", ["beta", "dirichlet", "entropy", "majority", "window"])
async def test_never_stops_without_an_answer(stopper: str) -> None:
    result = await drawn([NONE], stopper=stopper, max_samples=12)
    assert (result.calls, result.stop_reason) == (12, "most samples drawn")
    assert result.answers[-1].grade.extracted is None


async def test_a_window_with_a_sample_unparsed_does_not_agree() -> None:
    result = await drawn([A, A, A, A, NONE, A], stopper="window")
    assert result.calls == 10


async def test_an_agreeing_window_wins_over_what_came_before() -> None:
    result = await drawn([A, A, A, B, B], stopper="window", window=4, max_samples=8)
    # A leads 3 to 1 when the second window comes, all B; a vote over both would be B's by 5 to 3
    assert (result.calls, result.answers[-1].text) == (8, B)
    narrow = await drawn([A, A, A, A, B, *[B] * 5], stopper="window", window=5)
    assert (narrow.calls, narrow.answers[-1].text) == (10, B)


async def test_votes_over_all_samples_when_no_window_agrees() -> None:
    result = await drawn([A, B, B], stopper="window", window=3, max_samples=3)
    assert (result.answers[0].text, result.answers[-1].text) == (A, B)
    assert result.stop_reason == "most samples drawn"


async def test_the_last_window_is_as_long_as_samples_are_left() -> None:
    assert (await drawn([A, B, A, C], stopper="window", max_samples=7)).calls == 7


async def test_a_coin_stops_at_random_but_repeatably() -> None:
    first, again = [await drawn([A], stopper="random") for _ in range(2)]
    assert first.calls == again.calls
    assert (await drawn([A], stopper="random", threshold=1)).calls == 1
    never = await drawn([A], stopper="random", threshold=1e-9, max_samples=9)
    assert (never.calls, never.stop_reason) == (9, "most samples drawn")


async def test_a_lower_threshold_stops_earlier() -> None:
    assert (await drawn([A], threshold=0.7)).calls == 1
    assert (await drawn([A], threshold=0.99)).calls == 6


async def test_draws_the_samples_of_self_consistency() -> None:
    one = await drawn([A, B], max_samples=6)
    other = await play(self_consistency, [A, B], samples=6)
    ours, theirs = (
        [(node.messages, node.sampling) for node in result.nodes if node.usage]
        for result in (one, other)
    )
    assert ours == theirs


async def test_refuses_a_single_sample() -> None:
    with pytest.raises(BadParameter) as refusal:
        await drawn([A], max_samples=1)
    assert refusal.value.data["name"] == "max_samples"


@pytest.mark.parametrize(
    ("share", "expected"), [(1.0, 5.0), (0.9, 8.4607)], ids=["all-agree", "nine-in-ten"]
)
async def test_windows_draw_as_much_as_the_closed_form_says(share: float, expected: float) -> None:
    """Draw from two answers with known shares; the means are oracle E's."""

    def answer(request: ChatRequest) -> str:
        return A if request.sampling.seed < share * 2**31 else B  # seeds are drawn evenly

    task, used = ScriptedTask({str(index): "42" for index in range(200)}), list[int]()

    async def keep(result: SampleResult) -> None:
        used.append(result.calls)

    await evaluate(
        adaptive_consistency,
        {"stopper": "window"},
        task=task,
        samples=await task.samples(),
        models={"actor": ScriptedModel(answer)},
        sink=keep,
    )
    assert len(used) == 200
    # four standard errors: the number of windows is geometric
    assert sum(used) / 200 == pytest.approx(expected, abs=4 * 5.4 / 200**0.5 * (share < 1))
