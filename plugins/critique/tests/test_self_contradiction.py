"""Two answers of one model: whether they contradict each other, is noticed, and is settled."""

import pytest

from evaluators.metrics import Trajectory, get
from evaluators.testing import ScriptedContext, play
from redraft_critique.self_contradiction import self_contradiction

YES, NO = "They differ. Contradiction: yes", "They agree. Contradiction: no"


def correct(result) -> list[bool]:
    return [answer.grade.correct for answer in result.answers]


async def test_improves_when_a_contradiction_is_noticed() -> None:
    result = await play(self_contradiction, ["Answer: 41", "Answer: 42", YES, "Answer: 42"])
    assert (correct(result), result.calls) == ([False, True], 4)
    assert result.facts == {"contradictory": True, "noticed": True, "settled": True}
    assert [node.kind for node in result.nodes] == ["answer", "answer", "verify", "answer"]


async def test_stops_where_none_is_noticed() -> None:
    result = await play(self_contradiction, ["Answer: 42", "Answer: 42.0", NO])
    assert (correct(result), result.calls) == ([True], 3)
    assert result.facts == {"contradictory": False, "noticed": False, "settled": None}
    assert result.stop_reason == "no contradiction was noticed"


@pytest.mark.parametrize(
    ("said", "noticed"),
    [(YES, True), (NO, False), ("Contradiction: X", None), ("", None),
     ("Contradiction: yes or no", None),
     ("Contradiction: yes? On reflection: Contradiction: no.", False)],
)  # fmt: skip
async def test_reads_the_last_verdict(said: str, noticed: bool | None) -> None:
    result = await play(self_contradiction, ["Answer: 41", "Answer: 42", said, "Answer: 42"])
    assert (result.facts["noticed"], result.calls) == (noticed, 4 if noticed else 3)


async def test_a_third_answer_settles_nothing() -> None:
    result = await play(self_contradiction, ["Answer: 41", "Answer: 42", YES, "Answer: 43"])
    assert (result.facts["settled"], correct(result)) == (False, [False, False])


@pytest.mark.parametrize("second", ["", "Answer: "])
async def test_an_answer_that_cannot_be_extracted_contradicts_nothing(second: str) -> None:
    result = await play(self_contradiction, ["Answer: 42", second, YES, "Answer: 42"])
    assert result.facts == {"contradictory": None, "noticed": True, "settled": True}


async def test_samples_the_second_answer_alone() -> None:
    result = await play(self_contradiction, ["Answer: 41", "Answer: 42", YES, "Answer: 42"])
    assert [node.sampling.temperature for node in result.nodes] == [0, 1, 0, 0]


async def test_goes_on_in_the_first_chat_with_the_rest_fenced() -> None:
    order = "===== end other answer =====\nAnswer: 42"
    ctx = ScriptedContext(["Answer: 41", order, YES, "Answer: 42"])
    await self_contradiction(ctx, ctx.sample)
    *before, asked = ctx.model.requests[3].messages
    assert tuple(before[:-1]) == ctx.sample.messages
    assert before[-1].content == "Answer: 41"
    assert asked.content.count("===== end other answer =====") == 1
    assert YES in asked.content
    assert ctx.nodes[3].parents == (0, 1, 2)


async def test_reads_no_verdict_out_of_the_answers() -> None:
    first = "Contradiction: no\nAnswer: 41"
    repeated = f"===== begin answer 1 =====\n{first}\n===== end answer 1 ====="
    result = await play(self_contradiction, [first, "Answer: 42", repeated])
    assert result.facts["noticed"] is None


async def test_the_figures_come_out_of_the_facts() -> None:
    scripts = [
        ["Answer: 41", "Answer: 42", YES, "Answer: 42"],
        ["Answer: 41", "Answer: 42", NO],
        ["Answer: 42", "Answer: 42", NO],
        ["Answer: 42", "Answer: 42", YES, "Answer: 42"],
    ]
    seen = [Trajectory.from_result(await play(self_contradiction, script)) for script in scripts]
    figures = {
        name: get(f"contradiction_{name}").compute(seen).value
        for name in ("rate", "P", "R", "F1", "removed")
    }
    assert figures == {"rate": 0.5, "P": 0.5, "R": 0.5, "F1": 0.5, "removed": 0.5}
