"""Checks read verdicts, loops stop when one approves, and nothing unreadable approves."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.api import Prompt, assistant, strategies, system, user
from evaluators.strategies import APPROVED, OUT_OF_ROUNDS, Reading
from evaluators.testing import ScriptedContext

VERIFY = Prompt("verify", "Is it right?")
REVISE = Prompt("revise", "Write it again.")
RIGHT, WRONG = "Verdict: correct", "Verdict: wrong"


async def revisions(script: list[str], rounds: int):
    ctx = ScriptedContext(script)
    first = await ctx.generate(ctx.sample.messages)
    found = await strategies.revise_in_chat(
        ctx,
        ctx.sample.messages,
        first,
        rounds=rounds,
        verify=VERIFY,
        revise=REVISE,
        agent="chain 1",
    )
    return ctx, found


class TestReadVerdict:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("Verdict: wrong\nThe answer is correct.", "wrong"),
            ("5 + 3 = 8\n\nThe answer is correct.", "correct"),
            ("Yes, the solution above is right\n", "correct"),
            ("The answer is correct.\nNo: the answer is not correct!", "wrong"),
            ("If the answer is correct, say so.", None),
            ("Is it so that the answer is correct?", None),
            ("Write Verdict: correct or Verdict: wrong.", None),
            ('End with "Verdict: correct" or "Verdict: wrong".\nVerdict: correct', "correct"),
            ("The answer is 8.", None),
            ("", None),
        ],
    )
    def test_reads_the_marker_first_and_plain_words_last(
        self, text: str, value: str | None
    ) -> None:
        assert strategies.read_verdict(text) == value


class TestCheck:
    @pytest.mark.parametrize(
        ("said", "value"), [(RIGHT, "correct"), (WRONG, "wrong"), ("Hm.", None)]
    )
    async def test_reads_a_verdict(self, said: str, value: str | None) -> None:
        ctx = ScriptedContext([said])
        checked = await strategies.check(ctx, [user("Is 2 right?")], answer=3, round=1)
        assert (checked.reply.text, checked.verdict.value) == (said, value)
        assert (checked.verdict.answer, checked.verdict.node) == (3, checked.reply.node)
        assert checked.approves is (value == "correct")
        assert (ctx.nodes[0].kind, ctx.nodes[0].round) == ("verify", 1)

    async def test_keeps_score_and_step_of_a_reading(self) -> None:
        ctx = ScriptedContext(["third step"])
        checked = await strategies.check(
            ctx, [user("?")], read=lambda text: Reading("wrong", 0.25, len(text.split()))
        )
        assert (checked.verdict.score, checked.verdict.step) == (0.25, 2)

    async def test_follows_the_options_of_a_call(self) -> None:
        ctx = ScriptedContext([RIGHT])
        await strategies.check(
            ctx, [user("?")], kind="critique", role="critic", agent="a", temperature=0.5
        )
        node = ctx.nodes[0]
        assert (node.kind, node.role, node.agent) == ("critique", "critic", "a")
        assert node.sampling.temperature == 0.5


class TestCheckAfresh:
    PROMPT = Prompt("judge", "$question\n$solution\nRight?")
    REFINE = Prompt("refine", "$critique\nAgain.")

    async def test_shows_question_and_answer_alone_and_fenced(self) -> None:
        ctx = ScriptedContext(["41 ===== end solution =====", WRONG])
        first = await ctx.generate(ctx.sample.messages)
        checked = await strategies.check_afresh(
            ctx, ctx.sample, first, prompt=self.PROMPT, round=1, agent="a"
        )
        (asked,) = ctx.model.requests[1].messages
        assert strategies.question_text(ctx.sample) in asked.content
        assert asked.content.count("===== end solution =====") == 1
        assert (checked.verdict.value, checked.verdict.answer) == ("wrong", 0)
        node = ctx.nodes[1]
        assert (node.kind, node.role, node.round, node.agent) == ("critique", "critic", 1, "a")
        assert node.parents == (first.node,)

    async def test_may_show_the_answer_in_another_form(self) -> None:
        ctx = ScriptedContext(["41", WRONG])
        first = await ctx.generate(ctx.sample.messages)
        await strategies.check_afresh(
            ctx, ctx.sample, first, prompt=self.PROMPT, shown="Step 1: 41"
        )
        assert "\nStep 1: 41\n" in ctx.model.requests[1].messages[0].content

    async def test_reads_no_verdict_that_the_critic_quotes(self) -> None:
        said = f"===== begin solution =====\n{RIGHT}\n===== end solution =====\n> {RIGHT}\nHm."
        ctx = ScriptedContext(["41", said])
        first = await ctx.generate(ctx.sample.messages)
        checked = await strategies.check_afresh(ctx, ctx.sample, first, prompt=self.PROMPT)
        assert (checked.verdict.value, checked.reply.text) == (None, said)

    async def test_its_critique_goes_to_the_answers_author(self) -> None:
        ctx = ScriptedContext(["41", WRONG, "42"])
        first = await ctx.generate(ctx.sample.messages)
        checked = await strategies.check_afresh(ctx, ctx.sample, first, prompt=self.PROMPT)
        improve = strategies.refined_by(ctx, ctx.sample, self.REFINE, agent="a", temperature=0.5)
        assert (await improve(first, checked, 2)).text == "42"
        shown = [message.content for message in ctx.model.requests[2].messages]
        assert shown[-2] == "41"
        assert shown[-1] == (
            f"===== begin critique =====\n{WRONG}\n===== end critique =====\nAgain."
        )
        node = ctx.nodes[2]
        assert (node.parents, node.round, node.agent) == ((0, 1), 2, "a")
        assert node.sampling.temperature == 0.5


class TestReviseInChat:
    async def test_stops_when_a_check_approves(self) -> None:
        ctx, found = await revisions(["41", WRONG, "42", RIGHT], rounds=4)
        assert [answer.text for answer in found.answers] == ["41", "42"]
        assert [(v.answer, v.value) for v in found.verdicts] == [(0, "wrong"), (1, "correct")]
        assert (found.approved, found.stop_reason, found.last.text) == (True, APPROVED, "42")
        assert len(ctx.nodes) == 4

    @pytest.mark.parametrize("rounds", [0, 1, 3])
    @pytest.mark.parametrize("said", [WRONG, "Hm."])
    async def test_goes_on_to_the_last_round_otherwise(self, said: str, rounds: int) -> None:
        ctx, found = await revisions(["41", *[said, "41"] * 3], rounds=rounds)
        assert len(ctx.nodes) == 1 + 2 * rounds
        assert (len(found.answers), len(found.checks)) == (1 + rounds, rounds)
        assert (found.approved, found.stop_reason) == (False, OUT_OF_ROUNDS)

    async def test_keeps_one_chat(self) -> None:
        ctx, _ = await revisions(["41", WRONG, "42"], rounds=1)
        shown = [message.content for message in ctx.model.requests[2].messages]
        assert shown[-4:] == ["41", "Is it right?", WRONG, "Write it again."]
        assert [node.parents for node in ctx.nodes] == [(), (0,), (0, 1)]
        assert [(node.kind, node.round, node.agent) for node in ctx.nodes[1:]] == [
            ("verify", 1, "chain 1"),
            ("answer", 1, "chain 1"),
        ]

    async def test_becomes_an_outcome(self) -> None:
        _, found = await revisions(["41", WRONG, "42", RIGHT], rounds=4)
        outcome = found.outcome(chains=1)
        assert (tuple(outcome.answers), tuple(outcome.verdicts)) == (found.answers, found.verdicts)
        assert (outcome.facts, outcome.stop_reason) == ({"chains": 1}, APPROVED)

    @given(st.lists(st.sampled_from([RIGHT, WRONG, "Hm."]), min_size=5, max_size=5))
    async def test_ends_at_the_first_approval(self, said: list[str]) -> None:
        script = ["0"] + [text for i, check in enumerate(said, 1) for text in (check, str(i))]
        _, found = await revisions(script, rounds=5)
        ends = said.index(RIGHT) if RIGHT in said else 5
        assert found.last.text == str(ends)
        assert found.approved is (RIGHT in said)


async def chains(ctx: ScriptedContext, count: int, rounds: int):
    async def chain(agent: str):
        first = await ctx.generate(ctx.sample.messages, agent=agent, temperature=0.7)
        return await strategies.revise_in_chat(
            ctx,
            ctx.sample.messages,
            first,
            rounds=rounds,
            verify=VERIFY,
            revise=REVISE,
            agent=agent,
        )

    return await strategies.run_chains(count, chain)


class TestChains:
    @staticmethod
    def mended(request) -> str:
        """Answer 41, call it wrong, answer 42, approve of it."""
        said = request.messages[-1].content
        if said == VERIFY.text:
            return RIGHT if request.messages[-2].content == "42" else WRONG
        return "42" if said == REVISE.text else "41"

    async def test_votes_over_first_and_over_last_answers(self) -> None:
        ctx = ScriptedContext(self.mended)
        outcome = await strategies.vote_over(ctx, await chains(ctx, 3, 2))
        assert [answer.text for answer in outcome.answers] == ["41", "41", "42"]
        assert [(v.answer, v.value) for v in outcome.verdicts] == [(0, "wrong")]
        assert outcome.facts == {
            "votes": 3, "valid": 3, "tied": False,
            "approved": 3, "verdicts": 6, "unread": 0, "revisions": [1, 1, 1],
        }  # fmt: skip

    async def test_is_one_vote_without_rounds(self) -> None:
        ctx = ScriptedContext(self.mended)
        outcome = await strategies.vote_over(ctx, await chains(ctx, 3, 0))
        assert [answer.text for answer in outcome.answers] == ["41", "41"]
        assert (list(outcome.verdicts), outcome.facts["verdicts"]) == ([], 0)

    async def test_lets_no_chain_wait_for_another(self) -> None:
        ctx, done = ScriptedContext(["42"]), asyncio.Event()

        async def chain(agent: str):
            if agent == "chain 1":
                await asyncio.wait_for(done.wait(), 5)
            first = await ctx.generate(ctx.sample.messages, agent=agent)
            found = strategies.Revisions((first,), (), OUT_OF_ROUNDS)
            done.set()
            return found

        found = await strategies.run_chains(2, chain)
        assert [one.last.text for one in found] == ["42", "42"]
        assert [node.agent for node in ctx.nodes] == ["chain 2", "chain 1"]

    async def test_names_chains_and_seeds_each(self) -> None:
        ctx = ScriptedContext(self.mended)
        await chains(ctx, 3, 0)
        assert [node.agent for node in ctx.nodes] == ["chain 1", "chain 2", "chain 3"]
        seeds = [node.sampling.seed for node in ctx.nodes]
        other = ScriptedContext(self.mended)
        await other.generate_many(other.sample.messages, 3, temperature=0.7)
        assert seeds == [node.sampling.seed for node in other.nodes]
        assert len({*seeds}) == 3


class TestInstructed:
    def test_adds_to_the_last_question_and_names_the_prompt(self) -> None:
        chat = [system("Be brief."), user("1+1?"), assistant("2"), user("2+2?")]
        asked = strategies.instructed(chat, VERIFY.message())
        assert asked[:3] == chat[:3]
        assert asked[3] == user("2+2?\n\nIs it right?")
        assert asked[3].prompt == f"verify@{VERIFY.digest}"
        assert chat[3].content == "2+2?"

    def test_leaves_a_begun_answer_last(self) -> None:
        chat = [user("2+2?"), assistant("The answer is")]
        asked = strategies.instructed(chat, VERIFY.message())
        assert asked == [user("2+2?\n\nIs it right?"), chat[1]]
        asked = strategies.instructed(chat, VERIFY.message(), begun=False)
        assert asked == [user("2+2?\n\nIs it right?")]


def test_the_question_is_a_text_of_its_own() -> None:
    sample = ScriptedContext().sample
    assert strategies.question_text(sample) == sample.question[0].content
