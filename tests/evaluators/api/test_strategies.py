"""Prompts from files, votes, verdicts, and when two answers are one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.api import Prompt, answer_key, critique, same_answer, strategies

WORDS = st.one_of(st.none(), st.text(max_size=4), st.sampled_from(["1", "1.0", " 1 ", "A", "a"]))


class TestSameAnswer:
    @pytest.mark.parametrize(
        ("left", "right", "same"),
        [
            ("3.5", "3.50", True),
            ("-5", "5", False),
            ("1,234", "1234", True),
            ("35", "3.5", False),
            ("Yes ", "yes", True),
            ("a  b", "A b", True),
            ("nan", "nan", True),
            (None, None, False),
            (None, "", False),
        ],
        ids=["zeros", "sign", "thousands", "point", "case", "blanks", "words", "nothing", "empty"],
    )
    def test_compares(self, left: str | None, right: str | None, same: bool) -> None:
        assert same_answer(left, right) is same

    @given(WORDS, WORDS, WORDS)
    def test_is_an_equivalence_of_extracted_answers(self, a, b, c) -> None:
        assert same_answer(a, b) == same_answer(b, a)
        assert same_answer(a, a) == (a is not None)
        assert not (same_answer(a, b) and same_answer(b, c)) or same_answer(a, c)


class TestPlurality:
    @pytest.mark.parametrize(
        ("ballots", "winner", "votes", "valid", "tied"),
        [
            (["1", "2", "2"], 1, 2, 3, False),
            (["1.0", "2", "1"], 0, 2, 3, False),
            ([None, "2", None], 1, 1, 1, False),
            (["1", "2"], 0, 1, 2, True),
            ([None], None, 0, 0, False),
            ([], None, 0, 0, False),
        ],
        ids=["most", "equal-numbers", "unparsed", "tie-first-seen", "all-unparsed", "empty"],
    )
    def test_counts(self, ballots, winner, votes, valid, tied) -> None:
        assert strategies.plurality(ballots) == strategies.Vote(winner, votes, valid, tied)

    @given(st.lists(WORDS, max_size=9), st.randoms(use_true_random=False))
    def test_does_not_depend_on_order_except_for_ties(self, ballots, random) -> None:
        vote = strategies.plurality(ballots)
        shuffled = random.sample(ballots, len(ballots))
        again = strategies.plurality(shuffled)
        assert (again.votes, again.valid, again.tied) == (vote.votes, vote.valid, vote.tied)
        if vote.winner is not None and not vote.tied:
            assert answer_key(shuffled[again.winner]) == answer_key(ballots[vote.winner])


class TestVerdict:
    @pytest.mark.parametrize(
        ("text", "verdict"),
        [
            ("All steps hold.\nVerdict: correct", "correct"),
            ("**Verdict:** Wrong.", "wrong"),
            ("verdict - incorrect", "wrong"),
            ("Verdict: not correct", "wrong"),
            ('I say "Verdict: correct" or "Verdict: wrong".\nVerdict: wrong', "wrong"),
            ('End with "Verdict: correct" or "Verdict: wrong".', None),
            ("Verdict: correct or wrong", None),
            ("It is correct.", None),
            ("", None),
            ("Verdict: maybe", None),
        ],
    )
    def test_is_read_from_the_end(self, text: str, verdict: str | None) -> None:
        assert critique.parse_verdict(text) == verdict

    @given(st.text())
    def test_never_fails(self, text: str) -> None:
        assert critique.parse_verdict(text) in {"correct", "wrong", None}


class TestPrompt:
    def test_names_itself_and_its_hash_in_the_message(self) -> None:
        prompt = Prompt("a/b", "Say $word.")
        message = prompt.message(word="hello")
        assert (message.role, message.content) == ("user", "Say hello.")
        assert message.prompt == f"a/b@{prompt.digest}"
        assert prompt.placeholders == {"word"}

    def test_refuses_a_missing_value(self) -> None:
        with pytest.raises(KeyError, match="word"):
            Prompt("a/b", "Say $word.").message()

    def test_hash_changes_with_the_text(self) -> None:
        assert Prompt("a", "x").digest != Prompt("a", "y").digest
