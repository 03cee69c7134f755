"""Methods that gold gates: right answers are let be, and what gold gives away is masked."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.api import Sample
from evaluators.testing import ScriptedContext, check_evaluator, play
from redraft_self_correction.reflect_agents import reflect_agents
from redraft_self_correction.reflections import MASK, PARTS, read_parts, redacted
from redraft_self_correction.retry import retry
from redraft_self_correction.review_improve_oracle import review_improve_oracle

RIGHT, WRONG, OTHER = "Answer: 42", "Answer: 41", "Answer: 40"
REFLECTION = """**Explanation:** I took 41 where 42 is right.
Error Keywords: counting, off by one
3. Solution: 40 + 2 = 42, not 420 or 4.42
## Instructions
Add them up.
Advice: Check sums. The answer is 42!"""

PARTS_AGENTS = ["keywords", "advice", "instructions", "explanation", "solution"]
AGENTS = ["retry", *PARTS_AGENTS, "composite", "unredacted"]


def correct(result) -> list[bool]:
    return [answer.grade.correct for answer in result.answers]


def last_words(ctx: ScriptedContext) -> str:
    return ctx.model.requests[-1].messages[-1].content


@pytest.mark.parametrize("name", ["reflect_agents", "retry", "review_improve_oracle"])
async def test_conforms(name: str) -> None:
    assert [line for line in await check_evaluator(name) if not line.passed] == []


@pytest.mark.parametrize("method", [reflect_agents, retry, review_improve_oracle])
class TestGate:
    async def test_lets_right_answers_be(self, method) -> None:
        result = await play(method, [RIGHT, WRONG])
        assert (result.calls, correct(result), result.oracle) == (1, [True], True)
        assert result.stop_reason.endswith("right")

    async def test_marks_what_exists_because_of_gold(self, method) -> None:
        result = await play(method, [WRONG, "Hm.", RIGHT])
        assert [node.gated_by_gold for node in result.nodes][:2] == [False, True]

    def test_says_what_it_is(self, method) -> None:
        assert method.information == "oracle"
        assert method.controls == (() if method is retry else ("greedy", "retry"))


class TestRetry:
    @pytest.mark.parametrize("attempts", [1, 3])
    async def test_makes_at_most_its_attempts(self, attempts: int) -> None:
        result = await play(retry, [WRONG], attempts=attempts)
        assert (result.calls, result.stop_reason) == (1 + attempts, "all attempts made")

    async def test_stops_when_right(self) -> None:
        result = await play(retry, [WRONG, OTHER, RIGHT, WRONG], attempts=5)
        assert (result.calls, correct(result)) == (3, [False, False, True])

    async def test_says_that_the_answer_is_wrong_and_no_more(self) -> None:
        result = await play(retry, [WRONG, RIGHT])
        assert "42" not in "".join(message.content for message in result.nodes[1].messages)
        assert not any(node.sees_gold for node in result.nodes)


class TestReviewImproveOracle:
    @pytest.mark.parametrize("rounds", [1, 2])
    async def test_makes_at_most_two_calls_per_round(self, rounds: int) -> None:
        result = await play(review_improve_oracle, [WRONG], rounds=rounds)
        assert (result.calls, len(result.answers)) == (1 + 2 * rounds, 1 + rounds)

    async def test_stops_when_right(self) -> None:
        result = await play(review_improve_oracle, [WRONG, "Hm.", RIGHT, "Hm.", WRONG])
        assert (result.calls, correct(result)) == (3, [False, True])

    async def test_the_model_does_not_hear_of_gold(self) -> None:
        result = await play(review_improve_oracle, [WRONG, "Hm.", OTHER], review="neutral")
        names = [name.split("@")[0] for name in result.nodes[2].payload["prompts"]]
        assert names == ["review_improve/review_neutral", "review_improve/improve"]
        assert not any(node.sees_gold for node in result.nodes)


class TestReflectAgents:
    @pytest.mark.parametrize("agent", AGENTS)
    async def test_makes_its_calls(self, agent: str) -> None:
        script = [WRONG, RIGHT] if agent == "retry" else [WRONG, REFLECTION, RIGHT]
        result = await play(reflect_agents, script, agent=agent)
        assert (result.calls, correct(result)) == (len(script), [False, True])
        assert result.nodes[-1].agent == agent

    async def test_the_reflection_is_shown_the_right_answer_and_the_agent_is_not(self) -> None:
        ctx = ScriptedContext([WRONG, REFLECTION, RIGHT])
        await reflect_agents(ctx, ctx.sample, agent="composite", reflection_tokens=300)
        first, reflect, again = ctx.nodes
        assert "The right answer is: 42" in reflect.messages[-1].content
        assert (reflect.kind, reflect.sampling.max_tokens) == ("reflect", 300)
        assert [node.sees_gold for node in ctx.nodes] == [False, True, True]
        assert again.parents == (first.idx, reflect.idx)
        assert (again.kind, again.sampling.max_tokens) == ("answer", first.sampling.max_tokens)
        for leak in ("42!", "is right: 42", "= 42", "where 42"):
            assert leak not in last_words(ctx)
        assert MASK in last_words(ctx)

    async def test_answers_afresh(self) -> None:
        ctx = ScriptedContext([WRONG, REFLECTION, RIGHT])
        await reflect_agents(ctx, ctx.sample, agent="advice", reflection_tokens=300)
        assert [m.role for m in ctx.model.requests[-1].messages] == ["system", "user"]
        assert WRONG not in last_words(ctx)

    @pytest.mark.parametrize("agent", PARTS_AGENTS)
    async def test_an_agent_sees_its_part_alone(self, agent: str) -> None:
        ctx = ScriptedContext([WRONG, REFLECTION, RIGHT])
        await reflect_agents(ctx, ctx.sample, agent=agent, reflection_tokens=300)
        signs = {
            "explanation": "I took 41", "keywords": "off by one", "solution": "40 + 2",
            "instructions": "Add them up", "advice": "Check sums",
        }  # fmt: skip
        assert [part for part, sign in signs.items() if sign in last_words(ctx)] == [agent]

    async def test_the_unredacted_agent_sees_everything(self) -> None:
        ctx = ScriptedContext([WRONG, REFLECTION, RIGHT])
        outcome = await reflect_agents(ctx, ctx.sample, agent="unredacted", reflection_tokens=300)
        assert REFLECTION in last_words(ctx)
        assert outcome.facts == {"parts": list(PARTS), "masks": 0}

    async def test_retry_sees_neither_reflection_nor_gold(self) -> None:
        result = await play(reflect_agents, [WRONG, RIGHT], agent="retry")
        assert [node.kind for node in result.nodes] == ["answer", "answer"]
        assert not any(node.sees_gold for node in result.nodes)

    async def test_a_part_that_is_missing_is_shown_empty(self) -> None:
        ctx = ScriptedContext([WRONG, "I do not know. The answer is 42", RIGHT])
        outcome = await reflect_agents(ctx, ctx.sample, agent="solution", reflection_tokens=300)
        assert outcome.facts == {"parts": [], "masks": 0}
        assert "Solution:\n===== end" in last_words(ctx)
        assert "42" not in last_words(ctx)

    async def test_the_composite_agent_needs_no_parts(self) -> None:
        ctx = ScriptedContext([WRONG, "I do not know. The answer is 42", RIGHT])
        outcome = await reflect_agents(ctx, ctx.sample, agent="composite", reflection_tokens=300)
        assert outcome.facts == {"parts": [], "masks": 1}
        assert f"I do not know. The answer is {MASK}" in last_words(ctx)

    async def test_masks_labels_and_texts_of_choices(self) -> None:
        ctx = ScriptedContext(
            ["Answer: A", 'Advice: "B" (red\n Car) beats A, a blue car; DNA says B.', "Answer: B"],
            gold="B",
        )
        sample: Sample = replace(
            ctx.sample, choices=("blue car", "red car"), metadata={"labels": ["A", "B"]}
        )
        await reflect_agents(ctx, sample, agent="advice", reflection_tokens=300)
        shown = f'Advice: "{MASK}" ({MASK}) beats {MASK}, a {MASK}; DNA says {MASK}.'
        assert shown in last_words(ctx)


class TestReflections:
    def test_reads_parts_under_headings_of_any_dress(self) -> None:
        parts = read_parts(REFLECTION)
        assert list(parts) == list(PARTS)
        assert parts["keywords"] == "counting, off by one"
        assert parts["instructions"] == "Add them up."

    def test_the_first_of_equal_headings_counts(self) -> None:
        assert read_parts("Advice: one\nAdvice: two") == {"advice": "one"}
        assert read_parts("My solution is fine: 3") == {}

    @pytest.mark.parametrize(
        ("text", "secrets", "masked", "count"),
        [
            ("4, 14, 4.5, 1,4 and 4.", ["4"], f"{MASK}, 14, 4.5, 1,4 and {MASK}.", 2),
            ("1204, 1,204, 1204.00 or 1204.5", ["1,204"], f"{MASK}, {MASK}, {MASK} or 1204.5", 3),
            ("3.5, 3.50 or 3.55", ["3.50"], f"{MASK}, {MASK} or 3.55", 2),
            ("0.5 is .5, not 5", ["0.5"], f"{MASK} is {MASK}, not 5", 2),
            ("7 apples, 7.0", ["7 apples", "7"], f"{MASK}, {MASK}", 2),
            ("is:\n-42, -421", ["42"], f"is:\n-{MASK}, -421", 1),
            ("-2 and 26 - 2", ["-2"], f"{MASK} and 26 - 2", 1),
            ("Yes, yes", ["yes"], f"{MASK}, {MASK}", 2),
            ("A cat is a cat", ["A", "cat"], f"{MASK} {MASK} is a {MASK}", 3),
            ("red car, red", ["red", "red car"], f"{MASK}, {MASK}", 2),
            ("x+1 (x+1)", ["x+1"], f"{MASK} ({MASK})", 2),
            ("nothing", ["", "  "], "nothing", 0),
        ],
    )
    def test_masks_whole_words(
        self, text: str, secrets: list[str], masked: str, count: int
    ) -> None:
        assert redacted(text, secrets) == (masked, count)

    @given(st.text(alphabet="ab ", max_size=30), st.text(alphabet="ab", min_size=1, max_size=3))
    def test_no_word_of_a_secret_is_left(self, text: str, secret: str) -> None:
        assert secret not in redacted(text, [secret])[0].split()
