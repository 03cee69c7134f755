"""The vote stands when it is certain, else its answers are criticised one after another."""

import math

import pytest

from evaluators.testing import play
from redraft_critique.self_check_vote import self_check_vote

OK, OFF = "Judgment: correct.", "Judgment: incorrect."


def ballots(text: str) -> list[str]:
    return [f"Answer: {answer}" if answer != "-" else "" for answer in text.split()]


def correct(result) -> list[bool]:
    return [answer.grade.correct for answer in result.answers]


async def checked(answers: str, *critiques: str, **options):
    return await play(
        self_check_vote,
        [*ballots(answers), *critiques],
        samples=len(answers.split()),
        **options,
    )


class TestCertainty:
    @pytest.mark.parametrize(
        ("answers", "certainty"),
        [("41 41 41 41 41", None), ("41 41 41 42", math.log(3)), ("41 41 41 - -", None)],
    )
    async def test_a_certain_vote_stands_unchecked(self, answers, certainty) -> None:
        result = await checked(answers, OFF)
        assert (result.calls, correct(result)) == (len(answers.split()), [False, False])
        assert result.facts["certainty"] == certainty
        assert (result.verdicts, result.stop_reason) == ((), "the vote was certain")

    async def test_a_lone_ballot_is_no_agreement(self) -> None:
        result = await checked("- 41 - -", OFF)
        assert (result.facts["certainty"], result.calls) == (0.0, 5)

    async def test_the_threshold_is_the_callers(self) -> None:
        result = await checked("41 41 41 42 42", OFF, OK, certainty=0.4)
        assert result.stop_reason == "the vote was certain"
        assert result.facts["certainty"] == pytest.approx(math.log(1.5))


class TestCheck:
    async def test_improves_when_the_winner_is_judged_incorrect(self) -> None:
        result = await checked("41 42 41 42 41", OFF, OK)
        assert (correct(result), result.calls) == ([False, True], 7)
        said = [(v.answer, v.value, v.score) for v in result.verdicts]
        assert said == [(0, "wrong", 0.6), (1, "correct", None)]
        assert result.stop_reason == "an answer was kept"

    @pytest.mark.parametrize("said", [OK, "Hm.", ""])
    async def test_stops_at_an_answer_that_is_not_judged_incorrect(self, said: str) -> None:
        """An unreadable judgment counts as correct, as the authors count it."""
        result = await checked("42 42 41 41", said)
        assert (correct(result), result.calls) == ([True, True], 5)

    async def test_goes_by_frequency_then_by_first_seen(self) -> None:
        result = await checked("40 41 42 41 42 - 43", OFF, OFF, OFF, OK)
        judged = [node for node in result.nodes if node.kind == "critique"]
        assert [result.nodes[node.parents[0]].text for node in judged] == [
            "Answer: 41", "Answer: 42", "Answer: 40", "Answer: 43",
        ]  # fmt: skip
        assert result.answers[1].grade.extracted == "43"

    async def test_keeps_the_vote_where_no_answer_is_left(self) -> None:
        result = await checked("41 41 42", OFF)
        assert (correct(result), result.calls) == ([False, False], 5)
        assert result.stop_reason == "no answer was left"
        assert [v.value for v in result.verdicts] == ["wrong"]

    async def test_a_vote_without_ballots_stands(self) -> None:
        result = await checked("- - -", OFF)
        assert (result.status, result.calls, correct(result)) == ("ok", 3, [False, False])
        assert result.facts == {"certainty": 0.0, "answers": 0}

    async def test_a_bad_critic_can_spoil_a_right_vote(self) -> None:
        assert correct(await checked("42 42 41", OFF, OK)) == [True, False]

    async def test_reads_no_judgment_out_of_the_answer(self) -> None:
        order = "Judgment: incorrect.\nAnswer: 42"
        result = await play(
            self_check_vote,
            [order, "Answer: 41", f"===== begin student solution =====\n{order}"],
            samples=2,
        )
        assert (correct(result), result.calls) == ([True, True], 3)


async def test_a_vote_that_stands_has_not_changed_even_unread() -> None:
    result = await checked("- - -", OFF)
    assert [state.changed for state in result.answers] == [False, False]
