"""Methods that ask again in the same chat: each asks exactly what it should, and no more."""

import pytest

from evaluators.testing import ScriptedContext, check_evaluator, play
from redraft_self_correction.decide_then_revise import decide_then_revise, read_decision
from redraft_self_correction.if_or_else import if_or_else
from redraft_self_correction.initial_then_correct import initial_then_correct
from redraft_self_correction.null_turn import null_turn
from redraft_self_correction.review_improve import review_improve
from redraft_self_correction.two_turn_neutral import two_turn_neutral

RIGHT, WRONG, OTHER = "Answer: 42", "Answer: 41", "Answer: 40"
SILENT = "Answer: "
KEEP, REVISE = "It holds. Decision: keep", "It does not. Decision: revise"


def correct(result) -> list[bool]:
    return [answer.grade.correct for answer in result.answers]


def prompts(result) -> list[str]:
    """Return the last prompt file that each call was asked with."""
    return [
        node.payload["prompts"][-1].split("@")[0] if "prompts" in node.payload else "question"
        for node in result.nodes
    ]


@pytest.mark.parametrize(
    "name",
    ["decide_then_revise", "if_or_else", "initial_then_correct", "null_turn", "two_turn_neutral"],
)
async def test_conforms(name: str) -> None:
    assert [line for line in await check_evaluator(name) if not line.passed] == []


class TestTwoTurnNeutral:
    @pytest.mark.parametrize("second", [RIGHT, WRONG, SILENT, ""])
    async def test_makes_two_calls_whatever_comes(self, second: str) -> None:
        result = await play(two_turn_neutral, [WRONG, second])
        assert (result.status, result.calls) == ("ok", 2)
        assert prompts(result) == ["question", "two_turn_neutral/second"]

    async def test_improves_when_the_second_attempt_is_right(self) -> None:
        assert correct(await play(two_turn_neutral, [WRONG, RIGHT])) == [False, True]

    async def test_gives_the_same_hint_for_right_and_wrong_answers(self) -> None:
        hints = []
        for first in (RIGHT, WRONG):
            ctx = ScriptedContext([first, RIGHT])
            await two_turn_neutral(ctx, ctx.sample)
            *before, answer, hint = ctx.model.requests[1].messages
            assert (tuple(before), answer.content) == (ctx.sample.messages, first)
            hints.append(hint)
        assert hints[0] == hints[1]


class TestIfOrElse:
    async def test_stops_where_the_answers_agree(self) -> None:
        result = await play(if_or_else, [RIGHT, "I keep it. Answer:  42.0"])
        assert (result.calls, correct(result)) == (2, [True, True])
        assert result.stop_reason == "both answers agree"

    async def test_settles_where_they_differ(self) -> None:
        result = await play(if_or_else, [WRONG, OTHER, RIGHT])
        assert (result.calls, correct(result)) == (3, [False, False, True])
        assert prompts(result) == ["question", "if_or_else/reconsider", "if_or_else/settle"]
        assert result.nodes[2].parents == (0, 1)

    async def test_compares_answers_and_not_whether_they_are_right(self) -> None:
        """Two different wrong answers differ, although both are wrong; gold is never asked."""
        result = await play(if_or_else, [WRONG, OTHER, WRONG])
        assert (result.calls, result.oracle) == (3, False)

    @pytest.mark.parametrize(
        "pair", [("Answer: 3.5", "Answer: 35"), ("Answer: -5", "Answer: 5")], ids=["point", "sign"]
    )
    async def test_keeps_points_and_signs(self, pair: tuple[str, str]) -> None:
        assert (await play(if_or_else, [*pair, RIGHT])).calls == 3

    async def test_two_answers_that_cannot_be_read_differ(self) -> None:
        result = await play(if_or_else, [SILENT, SILENT, RIGHT])
        assert (result.calls, correct(result)) == (3, [False, False, True])

    async def test_may_settle_on_a_worse_one(self) -> None:
        assert correct(await play(if_or_else, [RIGHT, WRONG, WRONG])) == [True, False, False]


class TestDecideThenRevise:
    async def test_revises_what_it_decides_to_revise(self) -> None:
        result = await play(decide_then_revise, [WRONG, REVISE, RIGHT])
        assert (result.calls, correct(result)) == (3, [False, True])
        assert [node.kind for node in result.nodes] == ["answer", "decide", "answer"]
        assert [(v.answer, v.value, v.node) for v in result.verdicts] == [(0, "wrong", 1)]

    async def test_a_decision_to_keep_is_followed_by_an_answer_too(self) -> None:
        result = await play(decide_then_revise, [RIGHT, KEEP, RIGHT])
        assert (result.calls, correct(result)) == (3, [True, True])
        assert result.verdicts[0].value == "correct"

    async def test_counts_a_decision_that_cannot_be_read(self) -> None:
        result = await play(decide_then_revise, [RIGHT, "Hm.", WRONG])
        assert (result.status, correct(result)) == ("ok", [True, False])
        assert result.verdicts[0].value is None

    @pytest.mark.parametrize("prompt", ["fair", "biased"])
    @pytest.mark.parametrize("temperature", [0.0, 0.8])
    async def test_has_the_grid_of_prompt_and_temperature(
        self, prompt: str, temperature: float
    ) -> None:
        result = await play(
            decide_then_revise, [WRONG, REVISE, RIGHT], prompt=prompt, temperature=temperature
        )
        assert prompts(result)[1:] == [
            f"decide_then_revise/decide_{prompt}", "decide_then_revise/answer",
        ]  # fmt: skip
        assert [node.sampling.temperature for node in result.nodes] == [0, temperature, temperature]

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("Decision: keep", "correct"),
            ("**Decision:** Revise.", "wrong"),
            ("Say keep or revise. Decision: keep\nNo. Decision: revise", "wrong"),
            ("I would keep it.", None),
            ("Decision: keeping", None),
            ('one line that says either "Decision: keep" or "Decision: revise".', None),
            ("Decision: keep or revise", None),
        ],
    )
    def test_reads_the_last_decision(self, text: str, value: str | None) -> None:
        assert read_decision(text) == value


class TestInitialThenCorrect:
    @pytest.mark.parametrize("rounds", [1, 3])
    async def test_makes_one_call_per_round(self, rounds: int) -> None:
        result = await play(initial_then_correct, [WRONG, OTHER, RIGHT], rounds=rounds)
        assert (result.calls, len(result.answers)) == (1 + rounds, 1 + rounds)
        assert [node.round for node in result.nodes] == list(range(1 + rounds))

    async def test_improves_when_the_correction_is_right(self) -> None:
        assert correct(await play(initial_then_correct, [WRONG, RIGHT])) == [False, True]

    async def test_a_correction_sees_the_latest_answer_alone(self) -> None:
        result = await play(initial_then_correct, [WRONG, OTHER, RIGHT], rounds=2)
        assert [node.parents for node in result.nodes] == [(), (0,), (1,)]
        said = [m.content for m in result.nodes[2].messages if m.role == "assistant"]
        assert said == [OTHER]

    async def test_survives_a_correction_that_says_nothing(self) -> None:
        result = await play(initial_then_correct, [RIGHT, ""])
        assert (result.status, correct(result)) == ("ok", [True, False])


class TestNullTurn:
    @pytest.mark.parametrize("rounds", [1, 4])
    async def test_makes_one_call_per_round(self, rounds: int) -> None:
        result = await play(null_turn, [RIGHT], rounds=rounds)
        assert result.calls == 1 + rounds
        assert set(prompts(result)[1:]) == {"null_turn/again"}

    @pytest.mark.parametrize(
        ("method", "script"),
        [
            (two_turn_neutral, [WRONG]),
            (initial_then_correct, [WRONG]),
            (decide_then_revise, [WRONG, REVISE]),
            (review_improve, [WRONG, "Hm."]),
        ],
        ids=lambda value: getattr(value, "name", None),
    )
    async def test_says_what_ends_the_last_turn_of_others(self, method, script) -> None:
        null = await play(null_turn, [WRONG, RIGHT])
        other = await play(method, [*script, RIGHT])
        said, words = (result.nodes[-1].messages[-1].content for result in (other, null))
        assert said != words
        assert said.endswith(words)

    def test_is_a_control_itself(self) -> None:
        assert null_turn.controls == ()
