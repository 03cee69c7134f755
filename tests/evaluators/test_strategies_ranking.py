"""Ranking: marks that are read, tokens that count, and the best of several replies."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.api import strategies
from evaluators.model import TokenLogprob
from evaluators.testing import ScriptedContext

ranking = strategies.ranking
SCORES = st.lists(st.one_of(st.none(), st.floats(-5, 5)), min_size=1, max_size=6)


class TestReadMark:
    @pytest.mark.parametrize(
        ("text", "mark"),
        [
            ("Score: 7", 7.0),
            ("score - 7.5 of 10", 7.5),
            ("Score: 10/10", 10.0),
            ("**Score:** 3", 3.0),
            ("Give a score: 10\nScore: 2", 2.0),
            ("Score: 11", None),
            ("Score: -3", None),
            ("Give a score: 10\nScore: −3", None),
            ("Score: 1000", None),
            ("Score: none", None),
            ("I like it", None),
        ],
    )
    def test_reads(self, text: str, mark: float | None) -> None:
        assert ranking.read_mark(text, most=10) == mark


class TestReadChoice:
    @pytest.mark.parametrize(
        ("text", "index"),
        [
            ("Choice: 2", 1),
            ("**Choice:** 3", 2),
            ("choice - 1", 0),
            ("Choice: 1\nChoice: 2.", 1),
            ("Choice: 0", None),
            ("Choice: 4", None),
            ("Choice: -2", None),
            ("Choice: 1\nChoice: −2", None),
            ("the second", None),
        ],
    )
    def test_reads(self, text: str, index: int | None) -> None:
        assert strategies.read_choice(text, 3) == index


class TestBest:
    @pytest.mark.parametrize(
        ("scores", "valid", "index"),
        [
            ([1, 3, 2], [True] * 3, 1),
            ([3, 3], [True] * 2, 0),
            ([None, -2], [True] * 2, 1),
            ([9, 1], [False, True], 1),
            ([None, None], [False, True], 1),
            ([2, 5], [False] * 2, 1),
        ],
        ids=["highest", "first-of-equals", "scored", "answering", "no-scores", "no-answers"],
    )
    def test_takes(self, scores, valid, index: int) -> None:
        assert ranking.best(scores, valid=valid) == index

    @given(SCORES, st.randoms(use_true_random=False))
    def test_only_ties_feel_the_order(self, scores, random) -> None:
        valid = [True] * len(scores)
        shuffled = random.sample(scores, len(scores))
        assert (
            shuffled[ranking.best(shuffled, valid=valid)]
            == scores[ranking.best(scores, valid=valid)]
        )


class TestTokens:
    TOKENS = tuple(
        TokenLogprob(token, math.log(p))
        for token, p in (("4", 0.5), ("1 is", 0.9), (" 4", 0.25), ("1", 0.5), (".", 0.8))
    )

    @pytest.mark.parametrize(
        ("part", "kept"),
        [("41", [" 4", "1"]), ("4", None), ("is", ["1 is"]), ("7", None), (None, None)],
        ids=["last-standing", "inside-a-number", "inside-a-token", "absent", "no-answer"],
    )
    def test_of_a_part(self, part: str | None, kept: list[str] | None) -> None:
        found = ranking.tokens_of(self.TOKENS, part)
        assert [token.token for token in found] == (kept or [t.token for t in self.TOKENS])

    def test_scores(self) -> None:
        tokens = ranking.tokens_of(self.TOKENS, "41")
        assert ranking.token_score(tokens, "mean") == pytest.approx(0.375)
        assert ranking.token_score(tokens, "min") == pytest.approx(0.25)
        assert ranking.token_score(tokens, "product") == pytest.approx(math.sqrt(0.125))
        assert ranking.token_score([], "mean") is None

    @given(st.lists(st.floats(-9, 0), min_size=1, max_size=8))
    def test_are_ordered(self, logprobs: list[float]) -> None:
        tokens = [TokenLogprob("x", logprob) for logprob in logprobs]
        least, product, mean = (
            ranking.token_score(tokens, by) for by in ("min", "product", "mean")
        )
        assert least <= product + 1e-12
        assert product <= mean + 1e-12


class TestChoose:
    async def test_takes_an_answer_before_a_score_and_writes_it_down(self) -> None:
        ctx = ScriptedContext(["Answer: 1", "Answer:", "Answer: 2"])
        replies = [await ctx.generate(ctx.sample.messages) for _ in range(3)]
        reply, choice = await ranking.choose(ctx, replies, [1.0, 9.0, 2.0])
        assert reply.text == "Answer: 2"
        assert choice.facts == {"chosen": 2, "scores": [1, 9, 2], "valid": 2, "tied": False}
        node = ctx.nodes[-1]
        assert (node.kind, node.parents, node.payload["chosen"]) == ("select", (0, 1, 2), 2)

    async def test_names_ties(self) -> None:
        ctx = ScriptedContext(["Answer: 1"])
        replies = [await ctx.generate(ctx.sample.messages) for _ in range(2)]
        _, choice = await ranking.choose(ctx, replies, [None, None])
        assert (choice.index, choice.tied) == (0, True)


class TestShuffled:
    def test_is_one_order_for_one_place(self) -> None:
        first, again = ScriptedContext(), ScriptedContext()
        assert ranking.shuffled(first, 9) == ranking.shuffled(again, 9)
        assert sorted(ranking.shuffled(first, 9)) == [*range(9)]

    def test_differs_by_replicate_and_seed(self) -> None:
        from evaluators.context import Context
        from evaluators.testing import ScriptedModel, ScriptedTask

        task = ScriptedTask({"0": "42"})
        models = {"actor": ScriptedModel(["x"])}
        orders = {
            tuple(
                ranking.shuffled(
                    Context(task.sample("0"), models=models, task=task, seed=seed, replicate=r), 9
                )
            )
            for seed, r in ((0, 0), (0, 1), (1, 0))
        }
        assert len(orders) == 3
