"""Controls: one call is one call, and a vote is what most samples say."""

import pytest

from evaluators.errors import BadParameter
from evaluators.testing import play
from redraft_sampling.self_consistency import self_consistency
from redraft_sampling.single_pass import single_pass

RIGHT, WRONG = "Answer: 42", "Answer: 41"


class TestSinglePass:
    async def test_makes_one_call_and_keeps_its_answer(self) -> None:
        result = await play(single_pass, [RIGHT])
        assert (result.calls, len(result.answers)) == (1, 1)
        assert result.answers[0].grade.correct

    async def test_decodes_greedily_where_the_task_does(self) -> None:
        result = await play(single_pass, [RIGHT])
        assert result.nodes[0].sampling.temperature == 0
        assert result.nodes[0].sampling.seed is None

    async def test_survives_an_empty_answer(self) -> None:
        result = await play(single_pass, [""])
        assert result.status == "ok"
        assert not result.answers[0].grade.correct


class TestSelfConsistency:
    async def test_improves_when_the_first_sample_is_outvoted(self) -> None:
        result = await play(self_consistency, [WRONG, RIGHT, RIGHT], samples=3)
        assert [answer.grade.correct for answer in result.answers] == [False, True]
        assert result.facts == {"votes": 2, "valid": 3, "tied": False}

    async def test_makes_as_many_calls_as_samples_with_a_seed_each(self) -> None:
        result = await play(self_consistency, [RIGHT], samples=7)
        assert result.calls == 7
        assert len({node.sampling.seed for node in result.nodes if node.sampling}) == 7
        assert result.nodes[-1].kind == "vote"
        assert result.nodes[-1].parents == tuple(range(7))

    async def test_drops_ballots_without_an_answer(self) -> None:
        result = await play(self_consistency, ["", "", RIGHT], samples=3)
        assert result.facts == {"votes": 1, "valid": 1, "tied": False}
        assert result.answers[1].grade.correct

    async def test_ties_go_to_the_answer_seen_first(self) -> None:
        result = await play(self_consistency, [WRONG, RIGHT], samples=2)
        assert result.facts["tied"]
        assert [answer.text for answer in result.answers] == [WRONG, WRONG]

    async def test_survives_when_nothing_can_be_extracted(self) -> None:
        result = await play(self_consistency, [""], samples=2)
        assert result.status == "ok"
        assert result.facts == {"votes": 0, "valid": 0, "tied": False}
        assert result.answers[1].grade.extracted is None

    async def test_refuses_greedy_samples(self) -> None:
        with pytest.raises(BadParameter) as refusal:
            await play(self_consistency, [RIGHT], temperature=0)
        assert refusal.value.data["name"] == "temperature"
