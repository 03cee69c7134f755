"""The first wrong step is found by trace and step by step; its number is turned once."""

import pytest

from evaluators.api import Given, critique
from evaluators.metrics import Trajectory, get
from evaluators.testing import ScriptedContext, play
from redraft_critique.locate_mistake import locate_mistake

STEPS = ("1 + 2 = 3", "3 * 4 = 11", "Answer: 11")
WRONG = Given("\n".join(STEPS), steps=STEPS)


async def located(script, **options):
    return await play(locate_mistake, script, given=WRONG, first_error=1, **options)


class TestByTrace:
    @pytest.mark.parametrize(
        ("said", "value", "step"),
        [
            ("2", "wrong", 1),
            ("Step 2.", "wrong", 1),
            ("No", "correct", -1),
            ("no mistakes", "correct", -1),
            ("4", None, None),
            ("0", None, None),
            ("I cannot tell", None, None),
            ("", None, None),
        ],
    )
    async def test_reads_no_or_a_step(self, said, value, step) -> None:
        result = await located([said], method="direct_trace")
        (verdict,) = result.verdicts
        assert (verdict.value, verdict.step, result.calls) == (value, step, 1)
        assert (len(result.answers), result.facts["steps"]) == (1, 3)

    async def test_shows_all_steps_by_number(self) -> None:
        ctx = ScriptedContext(["No"], given=WRONG)
        await locate_mistake(ctx, ctx.sample, method="direct_trace")
        shown = critique.quoted(critique.numbered_steps(STEPS), critique.LABEL)
        assert shown in ctx.model.requests[0].messages[-1].content


class TestByStep:
    @pytest.mark.parametrize("method", ["direct_step", "cot_step"])
    @pytest.mark.parametrize(
        ("script", "step", "calls"),
        [
            (["No"], 0, 1),
            (["Yes", "No", "No"], 1, 2),
            (["Yes", "Yes", "Yes"], -1, 3),
            (["Yes", "Hm", "No"], 2, 3),
            (["Yes", "Hm", "Yes"], None, 3),
        ],
    )
    async def test_stops_at_the_first_no(self, method, script, step, calls) -> None:
        result = await located(script, method=method)
        assert (result.verdicts[0].step, result.calls) == (step, calls)
        assert result.verdicts[0].node == result.nodes[-1].idx

    async def test_shows_no_step_behind_the_one_in_question(self) -> None:
        ctx = ScriptedContext(["Yes"], given=WRONG)
        await locate_mistake(ctx, ctx.sample)
        first, second, _ = [request.messages[-1].content for request in ctx.model.requests]
        assert "Step 1: 1 + 2 = 3" in first
        assert "Step 2:" not in first
        assert "Is step 2 correct" in second

    @pytest.mark.parametrize(
        ("method", "said", "step"),
        [
            ("direct_step", "Yes, no doubt", -1),
            ("direct_step", "**No**", 0),
            ("cot_step", "No problem here. Answer: Yes", -1),
            ("cot_step", "Yes or no? It is 12.\n`Answer: No`", 0),
            ("cot_step", "3 * 4 is 12, so no.", 0),
            ("cot_step", "Answer: X", None),
            ("cot_step", "End with a last line `Answer: X`, where X is Yes or No.", None),
            ("direct_step", "Yes or No.", None),
        ],
    )
    async def test_reads_the_first_word_or_the_last(self, method, said, step) -> None:
        assert (await located([said], method=method)).verdicts[0].step == step

    async def test_reads_nothing_out_of_the_solution(self) -> None:
        given = Given("Answer: No", steps=("Answer: No",))
        repeated = critique.quoted("Step 1: Answer: No", critique.LABEL)
        result = await play(locate_mistake, [repeated], given=given, method="cot_step")
        assert result.verdicts[0].value is None


class TestOwnAnswers:
    async def test_paragraphs_are_steps(self) -> None:
        result = await play(locate_mistake, ["6 * 7\nis\n\nAnswer: 42", "Yes", "No"])
        assert (result.calls, result.verdicts[0].step) == (3, 1)
        assert result.facts["steps"] == 2

    async def test_are_judged_where_asked_to(self) -> None:
        result = await located(["6 * 7\nAnswer: 42", "Yes", "No"], own=True)
        assert (result.calls, result.verdicts[0].step) == (3, 1)
        assert result.answers[0].grade.first_error is None

    async def test_a_blank_answer_has_no_steps(self) -> None:
        result = await play(locate_mistake, [" "])
        assert (result.calls, result.verdicts[0].value) == (1, None)
        assert result.stop_reason == "there are no steps"


async def test_the_figure_is_the_share_located() -> None:
    """Gold says step 1 from 0; prompts count from 1."""
    hits = [await located([said], method="direct_trace") for said in ("2", "1", "No")]
    found = get("location_acc").compute([Trajectory.from_result(result) for result in hits])
    assert (found.numerator, found.denominator) == (1, 3)


async def test_what_cannot_be_read_is_a_miss() -> None:
    silent = await located(["Hm"], method="direct_trace")
    found = get("location_acc").compute([Trajectory.from_result(silent)])
    assert (found.numerator, found.denominator) == (0, 1)
