"""What answers mean: never a text that nobody wrote."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.errors import CallRefused, RuntimeUnavailable
from evaluators.model import (
    ChatRequest,
    ChoiceLikelihood,
    LikelihoodRequest,
    Sampling,
    TokenLogprob,
    Usage,
    assistant,
    system,
    user,
)
from evaluators.runtimes import wire

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "wire"
CASES = json.loads((GOLDEN / "completions.json").read_text(encoding="utf-8"))
ANSWER = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "content", "text", "finish_reason", "usage", "logprobs"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_completions(case):
    if "completion" in case:
        found = wire.read_completion(case["answer"], seconds=1.5)
        wanted = case["completion"]
        assert (found.text, found.finish_reason) == (wanted["text"], wanted["finish"])
        assert (found.usage, found.seconds) == (Usage(*wanted["usage"]), 1.5)
        assert found.logprobs == tuple(
            TokenLogprob(token, logprob, tuple((name, value) for name, value in top))
            for token, logprob, top in wanted["logprobs"]
        )
        return
    kind, words = (
        (CallRefused, case["refused"])
        if "refused" in case
        else (RuntimeUnavailable, case["unavailable"])
    )
    with pytest.raises(kind) as caught:
        wire.read_completion(case["answer"], seconds=0)
    assert caught.value.data["reason"].startswith(words)


@given(st.dictionaries(st.sampled_from(["choices", "usage", "error"]), ANSWER))
def test_nothing_is_read_as_an_answer_that_is_none(answer: dict[str, Any]):
    try:
        found = wire.read_completion(answer, seconds=0)
    except (CallRefused, RuntimeUnavailable):
        return
    choice = answer["choices"][0]
    text = choice["message"]["content"] if choice.get("message") is not None else choice["text"]
    assert found.text == text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_refuses_log_probabilities_that_are_no_numbers(value):
    entry = {"token": "x", "logprob": value, "top_logprobs": []}
    choice = {
        "message": {"content": "x"},
        "finish_reason": "stop",
        "logprobs": {"content": [entry]},
    }
    with pytest.raises(RuntimeUnavailable, match="a log-probability is"):
        wire.read_completion({"choices": [choice]}, seconds=0)


class TestBodies:
    def test_a_chat(self):
        request = ChatRequest(
            (system("be brief"), user("hello")),
            Sampling(max_tokens=5, temperature=0.7, top_p=0.9, stop=("\n",), seed=3, logprobs=2),
        )
        assert wire.completion_body(request, chat=True) == {
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "hello"},
            ],
            "max_tokens": 5,
            "temperature": 0.7,
            "top_p": 0.9,
            "stop": ["\n"],
            "seed": 3,
            "logprobs": True,
            "top_logprobs": 2,
        }

    def test_a_plain_prompt_with_a_prefix(self):
        request = ChatRequest((user("Q: 1+1\n"), assistant("A:")), Sampling(logprobs=0))
        body = wire.completion_body(request, chat=False)
        assert (body["prompt"], body["logprobs"]) == ("Q: 1+1\nA:", 0)
        assert set(body) == {"prompt", "max_tokens", "temperature", "top_p", "logprobs"}

    def test_refuses_a_conversation_without_a_template(self):
        request = ChatRequest((user("a"), assistant("b"), user("c")), Sampling())
        with pytest.raises(CallRefused, match="cannot converse"):
            wire.completion_body(request, chat=False)

    def test_a_question_of_likelihoods(self):
        request = LikelihoodRequest((user("Which?"),), ("A", "B"), labels=True)
        assert wire.likelihood_body(request, chat=True) == {
            "messages": [{"role": "user", "content": "Which?"}],
            "choices": ["A", "B"],
            "labels": True,
        }


class TestLikelihoods:
    def test_of_our_own_server(self):
        choice = {"text": "A", "logprob": -0.5, "tokens": 1, "greedy": True}
        answer = {"choices": [choice], "usage": {"prompt_tokens": 7}}
        found = wire.read_likelihoods(answer, seconds=2.0)
        assert found.choices == (ChoiceLikelihood("A", -0.5, tokens=1, greedy=True),)
        assert (found.usage, found.seconds) == (Usage(7, 0), 2.0)

    @pytest.mark.parametrize("answer", [{}, {"choices": [{}]}, {"choices": [{"text": "A"}]}])
    def test_refuses_what_is_none(self, answer):
        with pytest.raises(RuntimeUnavailable, match="the answer lacks"):
            wire.read_likelihoods(answer, seconds=0)


class TestEchoes:
    TOKENS = ("One", " two", " three", " fo", "ur", "!")
    LOGPROBS = (None, -1.0, -0.25, -0.5, -2.0, -9.0)

    def answer(self, **changes: Any) -> dict[str, Any]:
        starts = [sum(map(len, self.TOKENS[:place])) for place in range(len(self.TOKENS))]
        logprobs = {
            "tokens": list(self.TOKENS),
            "text_offset": starts,
            "token_logprobs": list(self.LOGPROBS),
            "top_logprobs": [
                None, {" two": -1.0}, {" three": -0.25}, {" fo": -0.5}, {"r": -0.1, "ur": -2.0}, {},
            ],
            **changes,
        }  # fmt: skip
        return {"choices": [{"text": "".join(self.TOKENS), "logprobs": logprobs}]}

    @pytest.mark.parametrize(
        ("prompt", "choice", "found"),
        [
            ("One two", " three", (-0.25, 1, True)),
            ("One two", " three four", (-2.75, 3, False)),
            ("One", " two three", (-1.25, 2, True)),
            ("One tw", "o three", (-1.25, 2, True)),
        ],
        ids=["one token", "several, not greedy", "no last token of its own", "spans the seam"],
    )
    def test_sums_the_tokens_of_the_choice(self, prompt, choice, found):
        weighed = wire.read_echo(self.answer(), prompt=prompt, choice=choice)
        logprob, tokens, greedy = found
        assert weighed == ChoiceLikelihood(choice, logprob, tokens=tokens, greedy=greedy)

    @pytest.mark.parametrize(
        ("changes", "prompt"),
        [
            ({"tokens": []}, "One two"),
            ({"token_logprobs": [None] * 6}, "One two"),
            ({"token_logprobs": [math.nan] * 6}, "One two"),
            ({"top_logprobs": None}, "One two"),
            ({"text_offset": [50] * 6}, "One two"),
            ({}, ""),
        ],
        ids=["no tokens", "null", "NaN", "no alternatives", "elsewhere", "the very first token"],
    )
    def test_refuses_what_is_no_echo(self, changes, prompt):
        with pytest.raises(RuntimeUnavailable, match="echo"):
            wire.read_echo(self.answer(**changes), prompt=prompt, choice="One two three")
